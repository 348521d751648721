"""How hot the machine is, where it tells."""

from __future__ import annotations

from pathlib import Path

_ZONES = Path("/sys/class/thermal")


def temperature(zones: Path = _ZONES) -> float | None:
    """Return the hottest of the kernel's thermal zones, degrees Celsius; None if none tells.

    See Linux, Documentation/ABI/testing/sysfs-class-thermal.
    """
    found = []
    for zone in zones.glob("thermal_zone*/temp"):
        try:
            found.append(int(zone.read_text(encoding="ascii")) / 1000)
        except (OSError, ValueError):
            continue  # A sensor that is asleep answers with an error.
    # Zones without a sensor behind them say 0, or what no machine survives.
    return max((each for each in found if 0 < each < 150), default=None)
