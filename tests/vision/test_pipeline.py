"""The whole of vision over the demonstration's crowd, whose truth is known."""

from collections import defaultdict

import numpy as np
import pytest

from installation.scene import Frame
from installation.vision.boxes import iou
from installation.vision.pipeline import open_pipeline

FPS = 10
SECONDS = 32


@pytest.fixture(scope="module")
def scenes(config, crowd):
    times = np.arange(SECONDS * FPS) / FPS
    with open_pipeline(config) as observer:
        return [
            observer.observe(Frame(seq, float(time), crowd.paint(time)))
            for seq, time in enumerate(times)
        ]


def test_boxes_sit_on_visible_faces_and_nowhere_else(scenes, crowd):
    found, missed, astray = [], 0, 0
    for scene in scenes:
        boxes = np.array([track.box for track in scene.tracks], np.float32).reshape(-1, 4)
        truth = crowd.truth(scene.at)
        for each in truth:
            if each.visible > 0.9:
                best = iou(np.array([each.box], np.float32), boxes).max(initial=0)
                found.append(best) if best > 0.4 else (missed := missed + 1)
        boxes_of_truth = np.array([each.box for each in truth], np.float32).reshape(-1, 4)
        astray += (iou(boxes, boxes_of_truth).max(1, initial=0) < 0.2).sum()
    assert len(found) / (len(found) + missed) >= 0.95
    assert np.mean(found) >= 0.6
    assert astray <= 0.02 * len(found)


def test_labels_settle_and_stay(scenes):
    """Nobody's word changes more than once after it has settled."""
    settled = defaultdict(list)
    for scene in scenes:
        for track in scene.tracks:
            if track.verdict and track.verdict.settled:
                words = settled[track.id]
                if not words or words[-1] != track.verdict.label.words:
                    words.append(track.verdict.label.words)
    assert len(settled) >= 3
    assert max(len(words) for words in settled.values()) <= 2


def test_the_whole_frame_is_labelled_only_when_nobody_is_there(scenes, crowd):
    assert all(scene.whole is None for scene in scenes if scene.tracks)
    assert scenes[5].whole is not None
    empty = [scene for scene in scenes if not crowd.truth(scene.at) and scene.at > SECONDS - 1.5]
    assert empty
    assert any(scene.whole is not None for scene in scenes[-10:])


def test_the_same_frames_give_the_same_scenes(config, crowd, scenes):
    with open_pipeline(config) as observer:
        for seq in range(40):
            time = seq / FPS
            assert observer.observe(Frame(seq, time, crowd.paint(time))) == scenes[seq]
