"""Commands that messages recommend, for an installed release or for a checkout."""

from __future__ import annotations

from pathlib import Path

# systemd/install puts releases here.
INSTALLED = Path("/opt/installation")


def is_installed() -> bool:
    """Tell whether this program was installed by systemd/install."""
    return INSTALLED in Path(__file__).resolve().parents


def build_engines() -> str:
    """Return the command that builds the engines."""
    if is_installed():
        return "sudo systemctl start installation-engines"
    return "installation engines build"


def fetch_engines() -> str:
    """Return the command that downloads the packages; the service itself has no network access."""
    if is_installed():
        return "sudo installation engines fetch --config /etc/installation/config.yaml"
    return "installation engines fetch"
