"""What may be written behind each command, and what it is turned into."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import NoReturn

from installation.config.file_url import local_path
from installation.runtime.redact import redact_text


class Parser(argparse.ArgumentParser):
    """Tells of wrong use without the secrets in URLs that it quotes."""

    def error(self, message: str) -> NoReturn:
        """See `argparse.ArgumentParser.error`."""
        super().error(redact_text(message))


def _capabilities(text: str) -> tuple[int, ...]:
    found = [re.fullmatch(r"(?:sm_)?(\d{2,3})", item.strip()) for item in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"must be of the form sm_86,sm_120, not {text}")
    return tuple(int(match[1]) for match in found if match)


def _positive(convert: Callable[[str], float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = convert(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
        return value

    parse.__name__ = "number"
    return parse


def _path_or_url(text: str) -> Path:
    try:
        return local_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) >= 320 and int(height) >= 240):
        raise argparse.ArgumentTypeError(f"must be of the form 1280x720, not {text}")
    return int(width), int(height)


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.min
    # Others have no hours that can be counted from 1970.
    if not 1970 <= day.year < 9000:
        raise argparse.ArgumentTypeError(f"must be of the form 2026-12-24, not {text}")
    return day


def _sheet(text: str) -> Path:
    from installation.record.report_plot import SUFFIXES

    path = Path(text)
    if path.suffix not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"must end in {' or '.join(SUFFIXES)}, not {text}")
    return path


def _picture_or_film(text: str) -> Path:
    path = Path(text)
    if path.suffix not in (".png", ".mp4"):
        raise argparse.ArgumentTypeError(f"must end in .png or .mp4, not {text}")
    return path


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"must be a number from 1 to 65535, not {text}")
    return int(text)


def describe_demo(demo: argparse.ArgumentParser, picture: Path) -> None:
    """Add what the demonstration takes; the picture it keeps without a screen."""
    demo.add_argument("--headless", action="store_true", help="draw into memory, not on a screen")
    limit = demo.add_mutually_exclusive_group()
    limit.add_argument("--seconds", type=_positive(float), metavar="N", help="stop after N seconds")
    limit.add_argument("--frames", type=_positive(int), metavar="N", help="stop after N pictures")
    demo.add_argument(
        "--output",
        type=_picture_or_film,
        metavar="FILE",
        help="keep the last picture (.png) or all of them (.mp4); "
        f"without a screen {picture} is kept in any case",
    )


def describe_web(web: argparse.ArgumentParser) -> None:
    """Add what the web extension takes."""
    web.add_argument(
        "--port",
        type=_port,
        metavar="N",
        help="listen there instead of at web.port: one of several workers",
    )


def describe_trace(trace: argparse.ArgumentParser) -> None:
    """Add what following the faces of a video takes."""
    trace.add_argument("video", type=_path_or_url, metavar="VIDEO")
    trace.add_argument("--json", action="store_true", help="print one object a frame")


def describe_classify(classify: argparse.ArgumentParser) -> None:
    """Add what naming the faces in pictures takes."""
    classify.add_argument("images", nargs="+", type=_path_or_url, metavar="IMAGE")
    classify.add_argument("--json", action="store_true", help="print one object a line")
    classify.add_argument(
        "--top",
        type=_positive(int),
        default=5,
        metavar="K",
        help="labels for each face (default 5)",
    )
    classify.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="draw boxes and labels into copies there; PNG where a format cannot hold them",
    )


def describe_record(action: str, parser: argparse.ArgumentParser) -> None:
    """Add what an action on the record takes."""
    parser.set_defaults(action=action)
    for name, which in (("--since", "first"), ("--until", "last")):
        parser.add_argument(name, type=_day, metavar="DATE", help=f"the {which} day to look at")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="another than record.file, such as a merged one"
    )
    if action == "summary":
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--json", action="store_true", help="print one object")
        how.add_argument(
            "--never", action="store_true", help="list the words that were never given instead"
        )
    elif action == "export":
        parser.add_argument("--csv", type=Path, nargs="?", metavar="FILE", help="not to be printed")
    else:
        parser.add_argument("file", type=_sheet, metavar="FILE")


def describe_backup(parser: argparse.ArgumentParser) -> None:
    """Add what backing up a record takes."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the copy; not there yet")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="another than record.file to copy"
    )


def describe_merge(parser: argparse.ArgumentParser) -> None:
    """Add what merging records takes."""
    parser.add_argument("into", type=Path, metavar="INTO", help="the sum; made where there is none")
    parser.add_argument("records", type=Path, nargs="+", metavar="FILE", help="read alone")


def describe_bench(bench: argparse.ArgumentParser) -> None:
    """Add what the benchmarks take."""
    bench.add_argument(
        "stage",
        nargs="?",
        choices=("chain", "inference"),
        default="chain",
        help="from the camera to the screen (the default), or the networks alone",
    )
    bench.add_argument("--device", choices=("auto", "gpu", "cpu"), help="default: the config's")
    bench.add_argument("--json", action="store_true", help="print one object")
    chain = bench.add_argument_group("for the chain")
    chain.add_argument(
        "--size", type=_size, metavar="WxH", help="of pictures and window (default 1280x720)"
    )
    chain.add_argument(
        "--faces", type=_positive(int), metavar="N", help="that are in view (default 4)"
    )
    chain.add_argument(
        "--seconds", type=_positive(float), metavar="N", help="for each way (default 24)"
    )


def describe_build(build: argparse.ArgumentParser) -> None:
    """Add what building engines takes."""
    build.add_argument(
        "names", nargs="*", metavar="ENGINE", help="precision and plans of these alone"
    )
    plans = build.add_argument_group("for a GPU")
    plans.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        help="of the numbers inside, from now on (at first fp16)",
    )
    plans.add_argument(
        "--calibrate",
        type=Path,
        metavar="FOLDER",
        help="for int8: pictures as the camera sees them; half of them tell what it costs",
    )
    plans.add_argument("--yes", action="store_true", help="accept what int8 costs unasked")
    plans.add_argument(
        "--ahead-for",
        type=_capabilities,
        default=(),
        metavar="sm_86,sm_120",
        help="for cards of these kinds, which need not be here (takes TensorRT-RTX)",
    )
    authentic = build.add_argument_group("for the authentic classifier, person-authentic")
    authentic.add_argument(
        "--network", metavar="NAME", help="of timm's, such as convnext_tiny.fb_in22k"
    )
    authentic.add_argument(
        "--weights", type=Path, metavar="FILE", help="its weights, where they cannot be downloaded"
    )


def describe_export(export: argparse.ArgumentParser) -> None:
    """Add what exporting engines takes."""
    export.add_argument("folder", type=Path, metavar="DIR", help="where the server looks for it")
    export.add_argument("names", nargs="*", metavar="ENGINE", help="these alone")
    export.add_argument(
        "--backend",
        choices=("onnxruntime", "openvino", "python"),
        default="onnxruntime",
        help="what runs them there (default onnxruntime; python for a Triton without the others)",
    )
