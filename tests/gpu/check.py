"""All tests that need a real GPU, in one run, with or without a network connection.

Requires the project installed with its engines built. Prints the GPU, the test results, how well
GPU and CPU agree, and the benchmark; exit status 0 if no test failed.
"""

from __future__ import annotations

import json
import subprocess
import sys

import cv2
import numpy as np

from engines.build import wheels
from engines.cuda_device import NoDeviceError, find_device
from engines.fetch import read_member
from installation.bench.inference import measure
from installation.capture.demo import Crowd
from installation.config.model import Inference
from installation.inference.open_engines import NoGpuError, find_gpu, open_engines
from installation.scene import Frame
from installation.vision.boxes import iou, squares
from installation.vision.classifier import CONTEXT
from installation.vision.detector import Detector
from tests.paths import ROOT
from tests.raw_frames import raw_frames

BUILT = ROOT / "engines" / "built"
PORTRAITS = (
    ("matplotlib", "matplotlib/mpl-data/sample_data/grace_hopper.jpg"),
    ("scikit-image", "skimage/data/astronaut.png"),
)


def pictures() -> list[Frame]:
    """Return portraits and moments of the made-up crowd."""
    data = (np.frombuffer(read_member(*each, wheels(BUILT)), np.uint8) for each in PORTRAITS)
    crowd = Crowd(BUILT, 1280, 720)
    images = [
        *(cv2.imdecode(each, cv2.IMREAD_COLOR) for each in data),
        *(crowd.paint(float(moment)) for moment in range(2, 22, 2)),
    ]
    return [frame for image in images for frame in (Frame.from_image(image), *raw_frames(image))]


def agreement(settings: Inference) -> str:
    """Compare the results on the GPU with those on the CPU."""
    names = settings.detector, settings.classifier
    overlaps, same, faces = [], [], 0
    with (
        open_engines(settings.model_copy(update={"device": "cpu"}), names) as on_cpu,
        open_engines(settings, names) as on_gpu,
    ):
        for frame in pictures():
            ours, theirs = (Detector(each[0], 32, 0.5).find(frame) for each in (on_gpu, on_cpu))
            faces += len(theirs)
            if len(theirs) and len(ours):
                overlaps += list(iou(theirs.xyxy, ours.xyxy).max(1))
            regions = np.concatenate([squares(theirs.xyxy, scale) for scale in (1.5, 2, CONTEXT)])
            if len(regions):
                first = [
                    next(iter(each[1].run(frame, regions).values())).argmax(1)
                    for each in (on_gpu, on_cpu)
                ]
                same += list(first[0] == first[1])
    found = sum(overlap > 0.9 for overlap in overlaps)
    return (
        f"agreement with the CPU: {found} of {faces} faces with IoU > 0.9, "
        f"the same best label in {np.mean(same):.1%} of {len(same)} regions"
    )


def main() -> int:
    """Test, compare, measure."""
    try:
        card = find_device()
    except NoDeviceError as error:
        print(f"no GPU to test: {error}", file=sys.stderr)
        return 2
    print(f"GPU: {card.name}, sm_{card.compute_capability}, driver {card.driver}")
    settings = Inference(device="gpu", engines=BUILT)
    checks = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs", "tests/gpu/card"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    print(checks.stdout if checks.returncode else checks.stdout.strip().splitlines()[-1])
    try:
        print(f"inference: {find_gpu()}")
        print(agreement(settings))
    except NoGpuError as error:
        print(f"networks were not run: {error}")
    report = measure(settings)
    print(report.as_text())
    print(json.dumps(report.as_json()))
    return checks.returncode


if __name__ == "__main__":
    sys.exit(main())
