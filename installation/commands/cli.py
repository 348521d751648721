"""The commands. Each opens a room, lets it work, and says what came of it."""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from installation.commands.arguments import (
    Parser,
    describe_backup,
    describe_bench,
    describe_build,
    describe_classify,
    describe_demo,
    describe_export,
    describe_merge,
    describe_record,
    describe_trace,
    describe_web,
)
from installation.commands.outcome import OK, perform
from installation.commands.terminal import ProgressBar, complain, confirm, say
from installation.config import model as configuration
from installation.config.model import Config
from installation.errors import EXPECTED_ERRORS, FAILURE, InstallationError, printable
from installation.runtime import logging_setup as journal
from installation.supervision.core_dumps import disable_core_dumps

if TYPE_CHECKING:
    from installation.record.reader import Period

# Without a screen the demonstration ends by itself, and leaves this.
_DEMO_SECONDS = 10.0
_DEMO_PICTURE = Path("demo.png")
# What may be asked of the chain's benchmark.
_TASK = ("size", "faces", "seconds")


def _config(arguments: argparse.Namespace) -> Config:
    return configuration.load(arguments.config or configuration.find())


def _run(arguments: argparse.Namespace) -> int:
    from installation.capture.make_source import make_source
    from installation.config.reload import ConfigFile
    from installation.wall import run

    disable_core_dumps()
    path = (arguments.config or configuration.find()).absolute()
    # Named by systemd where there is one; see systemd.exec(5).
    state = os.environ.get("STATE_DIRECTORY")
    file = ConfigFile(path, Path(state.partition(":")[0]) if state else None)
    config = file.start()
    source, record, status = make_source(config), config.record.file, config.status
    run(config, source, headless=False, file=file, record=record, status=status)
    return OK


def _demo(arguments: argparse.Namespace) -> int:
    from installation.commands.demo import demonstrate
    from installation.display.screen import has_screen

    config = _config(arguments)
    headless, output, seconds = arguments.headless, arguments.output, arguments.seconds
    if not headless and not has_screen():
        say("demo: no screen here (DISPLAY is not set); drawing into memory instead")
        headless = True
    if headless:
        output = output or _DEMO_PICTURE
        if seconds is None and arguments.frames is None:
            seconds = _DEMO_SECONDS
    say(f"demo: running{f' for {seconds:g} seconds' if seconds else ''}")
    print(demonstrate(config, headless, arguments.frames, seconds, output))
    return OK


def _web(arguments: argparse.Namespace) -> int:
    from installation.config.reload import ConfigFile
    from installation.web.upload.command import serve

    disable_core_dumps()
    path = (arguments.config or configuration.find()).absolute()

    def listen_there(config: Config) -> Config:
        if arguments.port is None:
            return config
        web = config.web.model_copy(update={"port": arguments.port})
        return config.model_copy(update={"web": web})

    serve(ConfigFile(path, None, listen_there))
    return OK


def _classify(arguments: argparse.Namespace) -> int:
    from installation.commands.classify import FileResult, OutputError, OutputFolder, read_file
    from installation.inference.engine import InferenceError
    from installation.vision.still_classifier import open_image_classifier

    def print_text(reading: FileResult) -> None:
        count = len(reading.faces)
        print(f"{printable(str(reading.path))}: {count} face{'' if count == 1 else 's'}")
        named = [(f"face {number}", face.labels) for number, face in enumerate(reading.faces, 1)]
        for who, labels in (*named, ("whole", reading.whole)):
            # Two meanings may share their words; people need them only once.
            first = {label.words: label.score for label in reversed(labels)}
            listed = sorted(first.items(), key=lambda item: -item[1])
            print(f"  {who}: {' | '.join(f'{words} {score:.2f}' for words, score in listed)}")

    config = _config(arguments)
    copies = OutputFolder(arguments.output, config.theme) if arguments.output else None
    status = OK
    with (
        ProgressBar() as meter,
        open_image_classifier(config, arguments.top, meter.follow) as reader,
    ):
        for path in arguments.images:
            try:
                reading = read_file(reader, path)
                if arguments.json:
                    print(json.dumps(reading.as_json()), flush=True)
                else:
                    print_text(reading)
                if copies is not None:
                    copies.save(reading)
            except (InferenceError, OutputError):
                raise
            except EXPECTED_ERRORS as error:
                complain(error)
                status = FAILURE
    return status


def _trace(arguments: argparse.Namespace) -> int:
    from installation.commands.trace import as_json, as_text, trace

    said = ""
    with ProgressBar() as meter:
        for scene in trace(_config(arguments), arguments.video, meter.follow):
            if arguments.json:
                print(json.dumps(as_json(scene)), flush=True)
            elif (text := as_text(scene)) != said:
                print(f"{scene.at:8.2f} s  {text}", flush=True)
                said = text
    return OK


def _fetch(arguments: argparse.Namespace) -> int:
    from engines.build import wheels
    from engines.fetch import fetch

    fetch(wheels(_config(arguments).inference.engines), say)
    return OK


def _build(arguments: argparse.Namespace) -> int:
    from installation.commands.engine_commands import AUTHENTIC, BuildOptions, build_all

    config = _config(arguments)
    made = (config.inference.engines / AUTHENTIC).exists()
    if AUTHENTIC in arguments.names and not (arguments.network or made):
        raise InstallationError(
            f"{AUTHENTIC} is made from a network of timm's: name it, with --network NAME"
        )
    if arguments.weights and not arguments.network:
        raise InstallationError("--weights belongs to a network: name it, with --network NAME")
    if arguments.calibrate and arguments.precision != "int8":
        raise InstallationError("--calibrate belongs to --precision int8")
    wish = BuildOptions(
        names=tuple(arguments.names),
        precision=arguments.precision,
        pictures=arguments.calibrate,
        accept=lambda question: arguments.yes or confirm(question),
        ahead_for=arguments.ahead_for,
        network=arguments.network,
        weights=arguments.weights,
    )
    with ProgressBar() as meter:
        build_all(config, wish, meter.say, meter.follow)
    _print_engine_status(config)
    return OK


def _labels(arguments: argparse.Namespace) -> int:
    from installation.commands import labels as words

    config = _config(arguments)
    lines = {
        "list": lambda: words.list_lines(config),
        "show": lambda: words.show_lines(config, " ".join(arguments.word)),
        "policy": lambda: words.policy_lines(config),
    }[arguments.action]()
    for line in lines:
        print(line)
    return OK


def _record(arguments: argparse.Namespace) -> int:
    from installation.record import report_plot as sheet
    from installation.record import summary
    from installation.record.reader import Period

    config = _config(arguments)
    path, zone = arguments.record or config.record.file, config.hours.schedule.zone
    if path is None:
        raise InstallationError("record.file is null: nothing is recorded; give the record a name")
    period = Period(zone, arguments.since, arguments.until)
    if arguments.action == "export":
        _export(path, period, arguments.csv)
        return OK
    found = summary.summarise(path, period, config.labels.choice)
    name = config.hours.timezone or f"{datetime.now(zone):%Z}"
    if arguments.action == "plot":
        sheet.save(found, name, arguments.file)
    elif arguments.json:
        print(json.dumps({"timezone": name, **found.as_json()}))
    else:
        never = (f"{wnid}  {summary.words_known(wnid)}" for wnid in found.never)
        for line in never if arguments.never else summary.as_text(found):
            print(line)
    return OK


def _backup(arguments: argparse.Namespace) -> int:
    from installation.record.backup import back_up

    record = arguments.record or _config(arguments).record.file
    if record is None:
        raise InstallationError("record.file is null: nothing is recorded; give the record a name")
    print(f"{arguments.file}: {back_up(record, arguments.file):,} words")
    return OK


def _merge(arguments: argparse.Namespace) -> int:
    from installation.record.merge import merge
    from installation.record.store import count

    status = OK
    for merged in merge(arguments.into, arguments.records):
        if merged.trouble is not None:
            complain(merged.trouble)
            status = FAILURE
        if merged.rows:
            print(merged, flush=True)
    print(f"{arguments.into}: {count(arguments.into):,} words")
    return status


def _export(path: Path, period: Period, to: Path | None) -> None:
    from installation.record import summary

    if to is None:
        summary.export(path, period, sys.stdout)
        return
    with to.open("w", encoding="utf-8", newline="") as file:
        summary.export(path, period, file)


def _check(arguments: argparse.Namespace) -> int:
    from installation.checks.run_checks import examine

    findings = []
    for finding in examine(arguments.config):
        findings.append(finding)
        if not arguments.json:
            print(finding, flush=True)
    well = all(finding.level != "trouble" for finding in findings)
    if arguments.json:
        print(json.dumps({"ok": well, "findings": [each.as_json() for each in findings]}))
    return OK if well else FAILURE


def _cameras(arguments: argparse.Namespace) -> int:
    from installation.capture.list_cameras import list_webcams

    found = list_webcams()
    if arguments.json:
        print(json.dumps([webcam.as_json() for webcam in found]))
    elif not found:
        print("no camera is plugged in")
    for webcam in () if arguments.json else found:
        for line in webcam.as_text():
            print(line)
    return OK


def _export_engines(arguments: argparse.Namespace) -> int:
    from installation.commands.engine_commands import export_all

    config, names = _config(arguments), arguments.names
    export_all(config, names, arguments.folder, arguments.backend, say)
    return OK


def _print_engine_status(config: Config) -> bool:
    """Print how everything stands; tell whether all is well."""
    from installation.inference.engine_status import engine_status

    found = engine_status(config)
    width = max(len(name) for name, _, _ in found)
    for name, wrong, about in found:
        print(f"{name:{width}} {wrong or 'ready'}{f' ({about})' if about else ''}")
    return not any(wrong for _, wrong, _ in found)


def _list(arguments: argparse.Namespace) -> int:
    _print_engine_status(_config(arguments))
    return OK


def _verify(arguments: argparse.Namespace) -> int:
    return OK if _print_engine_status(_config(arguments)) else FAILURE


def _bench(arguments: argparse.Namespace) -> int:
    from installation.bench import inference
    from installation.bench import pipeline as chain

    config = _config(arguments)
    asked = {key: value for key in _TASK if (value := getattr(arguments, key)) is not None}
    if arguments.stage == "inference" and asked:
        raise InstallationError(f"--{next(iter(asked))} belongs to the chain: leave out inference")
    if arguments.device:
        settings = config.inference.model_copy(update={"device": arguments.device})
        config = config.model_copy(update={"inference": settings})
    report: inference.Report | chain.Report
    if arguments.stage == "inference":
        report = inference.measure(config.inference)
    else:
        report = chain.measure(config, chain.Task(**asked), say)
    print(json.dumps(report.as_json()) if arguments.json else report.as_text())
    return OK


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="installation",
        description="The machine behind the mirror: a camera, a screen, a green box and a word.",
        epilog="Exit status: 0 all went well, 1 trouble (one line says what), 2 wrong use.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(
        name: str,
        work: Callable[[argparse.Namespace], int],
        about: str,
        told: int = logging.INFO,
        among: Any = commands,
    ) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = among.add_parser(name, help=about, description=about)
        added.set_defaults(work=work, told=told)
        added.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            help="default: ./config.yaml, else /etc/installation/config.yaml; with what is laid "
            "over it in config.d beside it",
        )
        return added

    command("run", _run, "Run the installation: the camera on the wall. Esc or Q ends it.")

    demo = command("demo", _demo, "Run it with a made-up crowd instead of a camera.")
    describe_demo(demo, _DEMO_PICTURE)

    classify = command(
        "classify", _classify, "Find and name the faces in picture files.", logging.WARNING
    )
    describe_classify(classify)

    trace = command(
        "trace",
        _trace,
        "Follow the faces of a video through every picture of it.",
        logging.WARNING,
    )
    describe_trace(trace)

    about = "Tell which words may be shown, and why."
    words = commands.add_parser("labels", help=about, description=about).add_subparsers(
        title="actions", metavar="ACTION", required=True
    )
    for action, does in (
        ("list", "Every label that may be shown."),
        ("show", "All about a word: meanings, what lies above them, whether they are shown."),
        ("policy", "What labels.policy, include and exclude come to."),
    ):
        command(action, _labels, does, among=words).set_defaults(action=action)
    words.choices["show"].add_argument("word", nargs="+", metavar="WORD", help="a word or wnid")

    about = "Serve a page to which visitors send pictures from their phones."
    describe_web(command("web", _web, about))
    about = "Tell which words were given, and when."
    record = commands.add_parser("record", help=about, description=about).add_subparsers(
        title="actions", metavar="ACTION", required=True
    )
    for action, does in (
        ("summary", "Which words were given most often, which never, and when."),
        ("export", "All that was recorded, as CSV."),
        ("plot", "The summary as a sheet to print (.png) or a page to read (.html)."),
    ):
        describe_record(action, command(action, _record, does, logging.WARNING, record))
    does = "Copy the record into one file, while the wall goes on."
    describe_backup(command("backup", _backup, does, logging.WARNING, record))
    does = "Sum records, such as those of many walls, into one; as often as you like."
    describe_merge(command("merge", _merge, does, logging.WARNING, record))

    cameras = command(
        "cameras", _cameras, "Every camera here, its lasting names, what it can send."
    )
    cameras.add_argument("--json", action="store_true", help="print one list")
    check = command("check", _check, "Look at everything a technician would, and say what to do.")
    check.add_argument("--json", action="store_true", help="print one object")

    describe_bench(command("bench", _bench, "Measure it beside what demonstrations do."))

    about = "Fetch, build and look after the networks."
    actions = commands.add_parser("engines", help=about, description=about).add_subparsers(
        title="actions", metavar="ACTION", required=True
    )
    command("fetch", _fetch, "Download the pinned weights.", among=actions)
    describe_build(
        command(
            "build",
            _build,
            "Make what is missing or out of date: networks, and plans where there is a GPU.",
            among=actions,
        )
    )
    describe_export(
        command("export", _export_engines, "Write a model repository for Triton.", among=actions)
    )
    command("list", _list, "Tell what is there, where from, and what runs it.", among=actions)
    command("verify", _verify, "The same; exit status 1 unless all is ready.", among=actions)
    return parser


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
    return perform(lambda: _command(argv))


def _command(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        # A file's name may hold bytes that are no text.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    journal.configure_logging(arguments.told)
    return int(arguments.work(arguments))
