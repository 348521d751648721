"""The machine's temperature."""

from __future__ import annotations

from pathlib import Path

_ZONES = Path("/sys/class/thermal")


def temperature(zones: Path = _ZONES) -> float | None:
    """Return the highest temperature of the kernel's thermal zones, in °C; None if unknown.

    See Linux, Documentation/ABI/testing/sysfs-class-thermal.
    """
    found = []
    for zone in zones.glob("thermal_zone*/temp"):
        try:
            found.append(int(zone.read_text(encoding="ascii")) / 1000)
        except (OSError, ValueError):
            continue  # A sleeping sensor returns an error.
    # Zones without a sensor report 0, or an impossible value.
    return max((each for each in found if 0 < each < 150), default=None)
