"""The commands. Each opens a room, lets it work, and says what came of it."""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from installation import config as configuration
from installation.config import Config
from installation.errors import InstallationError

# Wrong use is 2; argparse sees to it.
OK, TROUBLE, _INTERRUPTED = 0, 1, 130

# Without a screen the demonstration ends by itself, and leaves this.
_DEMO_SECONDS = 10.0
_DEMO_PICTURE = Path("demo.png")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _complain(error: object) -> None:
    _say(f"installation: {error}")


def _config(arguments: argparse.Namespace) -> Config:
    return configuration.load(arguments.config or configuration.find())


def _run(arguments: argparse.Namespace) -> int:
    from installation.capture.select import make_source
    from installation.controller import run

    config = _config(arguments)
    run(config, make_source(config), headless=False)
    return OK


def _demo(arguments: argparse.Namespace) -> int:
    from installation.demo import demonstrate
    from installation.display.window import has_screen

    config = _config(arguments)
    headless, output, seconds = arguments.headless, arguments.output, arguments.seconds
    if not headless and not has_screen():
        _say("demo: no screen here (DISPLAY is not set); drawing into memory instead")
        headless = True
    if headless:
        output = output or _DEMO_PICTURE
        if seconds is None and arguments.frames is None:
            seconds = _DEMO_SECONDS
    _say(f"demo: running{f' for {seconds:g} seconds' if seconds else ''}")
    print(demonstrate(config, headless, arguments.frames, seconds, output))
    return OK


def _classify(arguments: argparse.Namespace) -> int:
    from installation.classify import CopyFolder, PictureReader, Reading

    def print_text(reading: Reading) -> None:
        count = len(reading.faces)
        print(f"{reading.path}: {count} face{'' if count == 1 else 's'}")
        named = [(f"face {number}", face.labels) for number, face in enumerate(reading.faces, 1)]
        for who, labels in (*named, ("whole", reading.whole)):
            # Two meanings may share their words; people need them only once.
            first = {label.words: label.score for label in reversed(labels)}
            listed = sorted(first.items(), key=lambda item: -item[1])
            print(f"  {who}: {' | '.join(f'{words} {score:.2f}' for words, score in listed)}")

    config = _config(arguments)
    reader = PictureReader(config, arguments.top)
    copies = CopyFolder(arguments.output) if arguments.output else None
    status = OK
    for path in arguments.images:
        try:
            reading = reader.read(path)
            if arguments.json:
                print(json.dumps(reading.as_json()), flush=True)
            else:
                print_text(reading)
            if copies is not None:
                copies.save(path, reading.drawn(config.display.colour))
        except InstallationError as error:
            _complain(error)
            status = TROUBLE
    return status


def _trace(arguments: argparse.Namespace) -> int:
    from installation.trace import as_json, as_text, trace

    said = ""
    for scene in trace(_config(arguments), arguments.video):
        if arguments.json:
            print(json.dumps(as_json(scene)))
        elif (text := as_text(scene)) != said:
            print(f"{scene.at:8.2f} s  {text}")
            said = text
    return OK


def _engines(arguments: argparse.Namespace) -> int:
    from engines.build import build, survey, wheels
    from engines.fetch import fetch

    built = _config(arguments).inference.engines
    try:
        if arguments.action == "fetch":
            fetch(wheels(built), _say)
            return OK
        if arguments.action == "build":
            build(built, _say)
        standings = survey(built)
    except OSError as error:
        raise InstallationError(f"{error.filename or built}: {error.strerror}") from error
    for standing in standings:
        about = f" ({standing.about})" if arguments.action == "list" and standing.about else ""
        print(f"{standing.name:20} {standing.wrong or 'ready'}{about}")
    bad = any(standing.wrong for standing in standings)
    return TROUBLE if bad and arguments.action == "verify" else OK


def _positive(convert: Callable[[str], float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = convert(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
        return value

    parse.__name__ = "number"
    return parse


def _picture_or_film(text: str) -> Path:
    path = Path(text)
    if path.suffix not in (".png", ".mp4"):
        raise argparse.ArgumentTypeError(f"must end in .png or .mp4, not {text}")
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="installation",
        description="The machine behind the mirror: a camera, a screen, a green box and a word.",
        epilog="Exit status: 0 all went well, 1 trouble (one line says what), 2 wrong use.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(
        name: str, work: Callable[[argparse.Namespace], int], about: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about)
        added.set_defaults(work=work)
        added.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            help="default: ./config.yaml, else /etc/installation/config.yaml",
        )
        return added

    command("run", _run, "Run the installation: the camera on the wall. Esc or Q ends it.")

    demo = command("demo", _demo, "Run it with a made-up crowd instead of a camera.")
    demo.add_argument("--headless", action="store_true", help="draw into memory, not on a screen")
    limit = demo.add_mutually_exclusive_group()
    limit.add_argument("--seconds", type=_positive(float), metavar="N", help="stop after N seconds")
    limit.add_argument("--frames", type=_positive(int), metavar="N", help="stop after N pictures")
    demo.add_argument(
        "--output",
        type=_picture_or_film,
        metavar="FILE",
        help="keep the last picture (.png) or all of them (.mp4); "
        f"without a screen {_DEMO_PICTURE} is kept in any case",
    )

    classify = command("classify", _classify, "Find and name the faces in picture files.")
    classify.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    classify.add_argument("--json", action="store_true", help="print one object a line")
    classify.add_argument(
        "--top",
        type=_positive(int),
        default=5,
        metavar="K",
        help="labels for each face (default 5)",
    )
    classify.add_argument(
        "--output", type=Path, metavar="DIR", help="draw boxes and labels into copies there"
    )

    trace = command("trace", _trace, "Follow the faces of a video through every picture of it.")
    trace.add_argument("video", type=Path, metavar="VIDEO")
    trace.add_argument("--json", action="store_true", help="print one object a picture")

    engines = command("engines", _engines, "Fetch, build and look after the networks.")
    engines.add_argument(
        "action",
        choices=("fetch", "build", "list", "verify"),
        help="fetch: download the pinned weights; build: make what is missing or out of date; "
        "list: tell what is there and where from; verify: exit status 1 unless all is ready",
    )
    return parser


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown place"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv
        Without the program's name; the process's own by default.

    Returns
    -------
    int
        Exit status.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    arguments = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        # A file's name may hold bytes that are no text.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s", force=True
    )
    status = _perform(arguments)
    if threading.active_count() > 1:
        # A stage that is deep inside a library would be torn down in its middle, which aborts.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _perform(arguments: argparse.Namespace) -> int:
    try:
        status = int(arguments.work(arguments))
        sys.stdout.flush()
    except InstallationError as error:
        _complain(error)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        # Whoever was reading may leave early; anything else, a full disk say, is trouble.
        if not isinstance(error, BrokenPipeError):
            _complain(f"{error.filename or 'standard output'}: {error.strerror}")
        # Keep the interpreter from complaining at its own flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        _complain(
            f"unexpected {type(error).__name__} at {_where(error)}: {error}; "
            "please report this with what you did"
        )
    else:
        return status
    return TROUBLE
