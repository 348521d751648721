"""Where things are in this repository."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
BUILT = ROOT / "engines" / "built"
