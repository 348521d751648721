import cv2
import numpy as np
import pytest

from engines.manifest import ManifestError
from installation.scene import Frame
from installation.vision.boxes import iou
from installation.vision.detector import Detector, tile_regions
from tests.cpu_engine import on_cpu
from tests.portraits import COLLINS_FACE, HOPPER_FACE


@pytest.fixture(scope="module")
def detector(built):
    return Detector(on_cpu(built / "face-centerface"), min_face_px=20, threshold=0.5)


def find(detector, image):
    return detector.find(Frame.from_image(image))


def overlap(found, *truth):
    return iou(np.array(truth, np.float32), found.xyxy)


@pytest.mark.parametrize(("name", "truth"), [("hopper", HOPPER_FACE), ("collins", COLLINS_FACE)])
@pytest.mark.parametrize("scale", [0.25, 0.5, 1, 2, 6])
def test_a_face_is_found_at_every_size(detector, request, name, truth, scale):
    picture = cv2.resize(
        request.getfixturevalue(name), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
    )
    faces = find(detector, picture)
    assert len(faces) == 1
    assert overlap(faces, np.array(truth) * scale).item() > 0.6


@pytest.mark.parametrize("face", [26, 40, 120])
@pytest.mark.parametrize("size", [(1080, 1920), (3000, 4000), (2000, 800)])
def test_faces_are_found_all_over_a_large_image(detector, hopper, faceless, face, size):
    """Small ones too, wherever the regions are cut, and each once."""
    height, width = size
    picture = cv2.resize(faceless["brick"], (width, height))
    scale = face / (HOPPER_FACE[3] - HOPPER_FACE[1])
    visitor = cv2.resize(hopper, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    rows, columns = visitor.shape[:2]
    truth = []
    for down in np.linspace(0, height - rows, 4).astype(int):
        for across in np.linspace(0, width - columns, 4).astype(int):
            picture[down : down + rows, across : across + columns] = visitor
            truth.append(np.array(HOPPER_FACE) * scale + np.tile([across, down], 2))
    faces = find(detector, picture)
    found = (overlap(faces, *truth) > 0.4).sum()
    assert found >= 0.95 * len(truth)
    assert found >= 0.95 * len(faces)


@pytest.mark.parametrize("shift", range(0, 25, 6))
def test_a_face_cut_by_the_edge_of_a_region_is_not_two(detector, hopper, collins, shift):
    both = [cv2.resize(portrait, (160, 200)) for portrait in (hopper, collins)]
    crowd = np.tile(np.hstack(both), (5, 5, 1))
    assert len(find(detector, crowd[shift:, shift:])) == 50


def test_no_face_where_none_is(detector, faceless):
    for name, picture in faceless.items():
        assert len(find(detector, picture)) == 0, name
        assert len(find(detector, cv2.resize(picture, None, fx=3, fy=3))) == 0, name


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (17, 23)])
def test_images_too_small_for_a_face_have_none(detector, size):
    assert len(find(detector, np.full((*size, 3), 128, np.uint8))) == 0


def test_faces_come_in_order_of_score_inside_the_image_with_landmarks(detector, hopper, collins):
    picture = np.hstack([hopper[:512], collins])
    faces = find(detector, picture)
    assert len(faces) == 2
    assert faces.scores[0] >= faces.scores[1]
    assert (faces.xyxy >= 0).all()
    assert (faces.xyxy <= [1024, 512, 1024, 512]).all()
    for box, points in zip(faces.xyxy, faces.landmarks, strict=True):
        left_eye, right_eye, nose, left_mouth, right_mouth = points
        assert left_eye[0] < nose[0] < right_eye[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
        assert ((points >= box[:2]) & (points <= box[2:])).all()


def test_faces_below_the_minimum_size_are_omitted(built, collins):
    engine = on_cpu(built / "face-centerface")
    assert len(find(Detector(engine, 100, 0.5), collins)) == 1
    assert len(find(Detector(engine, 150, 0.5), collins)) == 0


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (6000, 4000), (90, 4000), (1, 1)])
def test_regions_cover_the_frame_and_overlap(size):
    width, height = size
    regions = tile_regions(width, height, (640, 352), min_face_px=24)
    seen = np.zeros((min(height, 400), min(width, 400)), int)
    scale = np.array([seen.shape[1] / width, seen.shape[0] / height])
    finest = (regions[:, 2] - regions[:, 0]).min()
    for x0, y0, x1, y1 in regions[np.isclose(regions[:, 2] - regions[:, 0], finest)]:
        low, high = np.array([x0, y0]) * scale, np.ceil(np.array([x1, y1]) * scale)
        seen[int(low[1]) : int(high[1]), int(low[0]) : int(high[0])] += 1
    assert (seen > 0).all()
    assert np.allclose((regions[:, 2] - regions[:, 0]) / (regions[:, 3] - regions[:, 1]), 640 / 352)


def test_a_classifier_is_rejected_as_detector(built):
    with pytest.raises(ManifestError, match="the detector must be"):
        Detector(on_cpu(built / "person-semantic"), 20, 0.5)
