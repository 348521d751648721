"""Commands to advise in messages: those of an installed wall, or of a checkout."""

from __future__ import annotations

from pathlib import Path

# Where systemd/install puts releases.
INSTALLED = Path("/opt/installation")


def is_installed() -> bool:
    """Tell whether this is the program that systemd/install has put in place."""
    return INSTALLED in Path(__file__).resolve().parents


def build_engines() -> str:
    """Return the command that builds the engines."""
    if is_installed():
        return "sudo systemctl start installation-engines"
    return "installation engines build"


def fetch_engines() -> str:
    """Return the command that downloads what engines are built from; the service has no network."""
    if is_installed():
        return "sudo installation engines fetch --config /etc/installation/config.yaml"
    return "installation engines fetch"
