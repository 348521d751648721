"""Time zones whose rules tests know: those of real places change with each release of tzdata."""

from __future__ import annotations

import os
import struct
import zoneinfo
from datetime import datetime, timedelta, timezone

# By name: as POSIX has it for the environment variable TZ. The names are of places that have, or
# once had, such a clock.
RULES = {
    "Test/Berlin": "CET-1CEST,M3.5.0,M10.5.0/3",
    "Test/New_York": "EST5EDT,M3.2.0,M11.1.0",
    # Half an hour off, and never changed.
    "Test/Kolkata": "IST-5:30",
    # By half an hour.
    "Test/Lord_Howe": "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
    # At midnight: forward, to 1:00, and back, to 0:00.
    "Test/Havana": "CST5CDT,M3.2.0/0,M11.1.0/1",
    # Back from the end of a day, so that its last hour comes twice.
    "Test/Cairo": "EET-2EEST,M4.5.5/0,M10.5.4/24",
    "Test/Santiago": "<-04>4<-03>,M9.1.6/24,M4.1.6/24",
    "Test/Apia": "<+14>-14",
}
# A change that no rule describes: when it was, and how far from UTC the clock was until then.
_CHANGES = {
    # Left out a whole day, 30 December 2011.
    "Test/Apia": (datetime(2011, 12, 30, 10, tzinfo=timezone.utc), timedelta(hours=-10)),
}


def zone_file(name):
    """Return the content of a zone's file (TZif, RFC 8536), for a name of `RULES`."""
    header = b"TZif2" + bytes(15)
    # An old reader's part, which says UTC.
    content = header + struct.pack(">6L", 0, 0, 0, 0, 1, 4) + bytes(6) + b"UTC\0"
    rule = f"\n{RULES[name]}\n".encode()
    if name not in _CHANGES:
        return content + header + struct.pack(">6L", 0, 0, 0, 0, 1, 4) + bytes(6) + b"UTC\0" + rule
    moment, before = _CHANGES[name]
    after = timedelta(hours=14)
    content += header + struct.pack(">6L", 0, 0, 0, 1, 2, 4)
    content += struct.pack(">qB", int(moment.timestamp()), 1)
    for offset in (before, after):
        content += struct.pack(">lBB", int(offset.total_seconds()), 0, 0)
    return content + b"LMT\0" + rule


def install(folder):
    """Let this process, and those it starts, find these zones by name.

    Parameters
    ----------
    folder
        Where their files are written.
    """
    for name in RULES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(zone_file(name))
    places = [str(folder), *zoneinfo.TZPATH]
    zoneinfo.reset_tzpath(places)
    os.environ["PYTHONTZPATH"] = os.pathsep.join(places)
