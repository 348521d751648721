"""``installation check``: check everything a technician would."""

from __future__ import annotations

import argparse
import json

from installation.commands.arguments import Subparsers, add_command
from installation.commands.exit_status import OK
from installation.errors import FAILURE


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    summary = "Check everything a technician would, and say what to do."
    parser = add_command(commands, "check", _check, summary)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _check(arguments: argparse.Namespace) -> int:
    from installation.checks.run_checks import run_checks

    findings = []
    for finding in run_checks(arguments.config):
        findings.append(finding)
        if not arguments.json:
            print(finding, flush=True)
    ok = all(finding.level != "error" for finding in findings)
    if arguments.json:
        print(json.dumps({"ok": ok, "findings": [each.as_json() for each in findings]}))
    return OK if ok else FAILURE
