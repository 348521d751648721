"""Configs damaged by mistakes, editors and malice: each is accepted, or rejected in a helpful line.

    python -m tests.benchmarks.mutations [COUNT]

Prints how many were accepted and rejected, the slowest one, and some of the lines.
"""

from __future__ import annotations

import argparse
import random
import re
import tempfile
import time
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

from installation.config import loader as configuration
from installation.config.strict_yaml import ConfigError
from tests.paths import ROOT

SHIPPED = (ROOT / "config.yaml").read_text()
# A config with more than the default values.
FULL = """\
camera: {source: /dev/v4l/by-id/usb-Acme-video-index0, width: 1920, height: 1080, fps: 25}
labels:
  policy: full
  include: [boss, "under criminal", n10104064]
  exclude:
    - curator
    - under bad person
display:
  monitor: HDMI-1
  rotate: 90
theme:
  colour: "#ff0000"
  idle:
    after_s: 30
    text: "Tritt näher"
hours:
  open:
    - mon-fri 10:00-18:00
    - "sat,sun 11:00-20:00"
    - fri 22:00-02:00
  closed: [2026-12-24, 12-25, 2026-12-30..2027-01-02]
  timezone: Europe/Berlin
record: {file: record.sqlite, keep_days: 365}
"""
# Replacements for values.
VALUES = (
    *("", "~", "null", "true", "yes", "-1", "0", "1", "1e400", ".nan", ".inf", "-.inf", "0x10"),
    *("1_000", "1:30:00", "1.5", "'", '"', "''", "[]", "{}", "[[[]]]", "{a: {b: {c: d}}}", "[,]"),
    *("9" * 400, "9" * 5000, "0x" + "f" * 9000, "0b" + "1" * 20000, "1" + ":59" * 3000),
    *("x" * 5000, "ü", "💡", "\u202e", "\ud7ff", "\x07", "\x00", "\x1b[31m", '"\\ud800"', '"\\0"'),
    *(
        "'\\n'",
        '"a\\nb"',
        "|\n  a\n   b",
        ">-\n",
        "&a x",
        "*a",
        "!!bool x",
        "!!int ''",
        "!!float x",
    ),
    *("!!timestamp x", "!!binary x", "!!set {a}", "!!omap [a: 1]", "!!pairs [a]", "!!null x"),
    *("!!python/object/apply:os.system [x]", "!x y", "2026-13-45", "2026-12-24", "12:99", "@", "`"),
    *("%", "%YAML 9.9", "--- a", "...", "? a", ": b", "- - - -", "<<: {}", "#", "mon 10:00-18:00"),
    *(
        "under",
        "under person",
        "/dev/zero",
        "../../../etc/passwd",
        "rtsp://[",
        "http://" + "a" * 500,
    ),
)
BOMBS = (
    "a: &a [x]\n"
    + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{f'*{chr(97 + n)},' * 9}]\n" for n in range(20)),
    "a: &a {x: 1}\n"
    + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} {{<<: [{f'*{chr(97 + n)},' * 9}]}}\n" for n in range(20)
    ),
    "a: &a [*a]\n",
    "[" * 30_000,
    "{a: " * 10_000,
    "- " * 20_000,
    "".join(" " * n + "a:\n" for n in range(300)),
    "camera:\n" + "".join(f"  key{n}: {n}\n" for n in range(3000)),
    "labels:\n  exclude: [" + "curator, " * 6000 + "]\n",
    "hours:\n  open: [" + "mon 10:00-18:00, " * 3000 + "]\n",
    "hours:\n  timezone: " + "Europe/" * 8000 + "\n",
    "camera: {source: " + "a" * 60_000 + "}\n",
    "x" * 10_000_000,
    "camera:\n" + "# " * 30_000,
    "? " * 5000,
    "!!set {" + "a, " * 10_000 + "}",
    "--- \n" * 10_000,
)


def _damage_lines(chance: random.Random, lines: list[str]) -> None:
    """Damage lines, as people do."""
    at = chance.randrange(len(lines))
    match chance.randrange(9):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[at])
        case 2:
            lines[at] = " " * chance.randrange(1, 9) + lines[at]
        case 3:
            lines[at] = lines[at].lstrip()
        case 4:
            lines[at] = "\t" + lines[at]
        case 5:
            other = chance.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        case 6:
            lines[at] = lines[at].replace(":", chance.choice((" :", "", "::", "=")), 1)
        case 7:
            lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)]
        case _:
            value = chance.choice(VALUES)
            lines[at] = re.sub(
                r"(: |- )[^#]*", lambda match: match[1] + value + " ", lines[at], count=1
            )


def _damage_bytes(chance: random.Random, data: bytes) -> bytes:
    """Damage bytes, as disks and networks do."""
    data = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at : at + chance.randrange(1, 40)] = b""
            case 2:
                data[at:at] = chance.randbytes(chance.randrange(1, 5))
            case _:
                data[at : at + 1] = chance.choice(
                    (b"\0", b"\xff", b"\t", b"\r", b"\n", b"\xc2\x85")
                )
        if not data:
            break
    return bytes(data)


def _encode(chance: random.Random, text: str) -> bytes:
    """Encode a file as various editors do."""
    match chance.randrange(12):
        case 0:
            return b"\xef\xbb\xbf" + text.encode("utf-8", "replace")
        case 1:
            return text.encode("utf-16", "replace")
        case 2:
            return text.replace("\n", "\r\n").encode("utf-8", "replace")
        case 3:
            return text.replace("\n", "\r").encode("utf-8", "replace")
        case 4:
            return text.encode("latin-1", "replace")
        case _:
            return text.encode("utf-8", "replace")


def mutated(chance: random.Random) -> bytes:
    """Return the bytes of a damaged config."""
    if chance.random() < 0.02:
        return chance.choice(BOMBS).encode()
    lines = chance.choice((SHIPPED, FULL)).splitlines()
    for _ in range(chance.choice((1, 1, 1, 2, 4, 12))):
        if lines:
            _damage_lines(chance, lines)
    data = _encode(chance, "\n".join(lines) + "\n")
    return _damage_bytes(chance, data) if data and chance.random() < 0.3 else data


def verdict(path: Path, data: bytes, over: bytes | None = None) -> tuple[str, float]:
    """Load a config; return the line of the error (empty: accepted) and the seconds.

    Parameters
    ----------
    path
        Where it is written.
    data
        Its bytes.
    over
        Those of a file that is merged over it; None: there is none.

    Raises
    ------
    AssertionError
        The error is not one line, names no existing line, or is not readable.
    """
    path.write_bytes(data)
    overlay = path.with_suffix(".d") / "wall.yaml"
    overlay.parent.mkdir(exist_ok=True)
    overlay.unlink(missing_ok=True)
    if over is not None:
        overlay.write_bytes(over)
    message, started_at = "", time.perf_counter()
    try:
        config = configuration.load(path)
        # An accepted config must be usable.
        config.hours.schedule.next_change(datetime.now(timezone.utc))
    except ConfigError as error:
        message = str(error)
    seconds = time.perf_counter() - started_at
    if message:
        files = "|".join(re.escape(str(each)) for each in (path, overlay))
        match = re.fullmatch(rf"({files}):(\d+): (.{{3,420}})", message)
        assert match and match[3].isprintable(), message
        # Whatever ends lines; the end of the file counts too.
        there = data if match[1] == str(path) else over or b""
        breaks = len(re.findall(rb"\r\n|\r|\n|\xc2\x85|\xe2\x80[\xa8\xa9]", there))
        assert 1 <= int(match[2]) <= breaks + 2, message
    return message, seconds


def main() -> None:
    """Run, and print the summary."""
    about = (__doc__ or "").partition("\n\n")[0]
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("count", nargs="?", type=int, default=10_000, help="how many configs")
    count: int = parser.parse_args().count
    chance = random.Random(0)
    kinds, slowest = Counter[str](), (0.0, "")
    shown: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        for _ in range(count):
            data, over = mutated(chance), None
            match chance.randrange(4):
                case 0:
                    data, over = chance.choice((SHIPPED, FULL)).encode(), data
                case 1:
                    over = mutated(chance)
            message, seconds = verdict(path, data, over)
            line = message.removeprefix(f"{folder}/config").partition(":")[2]
            kind = re.sub(r"'[^']*'|\d+", "…", line.partition(": ")[2])[:40]
            kinds["rejected" if message else "accepted"] += 1
            shown.setdefault(kind, line)
            slowest = max(slowest, (seconds, line or "accepted"))
    for line in chance.sample(sorted(shown.values()), min(len(shown), 25)):
        print(line)
    print(f"\n{count} configs: {dict(kinds)}, {len(shown)} kinds of lines, no traceback")
    print(f"slowest: {slowest[0]:.2f} s ({slowest[1][:100]})")


if __name__ == "__main__":
    main()
