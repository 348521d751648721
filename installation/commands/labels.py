"""``installation labels``: which words may be shown, and why."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from installation.commands.arguments import Subparsers, add_actions, add_command, load_config
from installation.commands.exit_status import OK
from installation.errors import InstallationError

if TYPE_CHECKING:
    from installation.labels.policy import Decision
    from installation.labels.synsets import Synset


def add_parser(commands: Subparsers) -> None:
    """Add the command and its actions."""
    actions = add_actions(commands, "labels", "Show which words may be shown, and why.")
    add_command(actions, "list", _list, "List every label that may be shown.")
    summary = "Explain a word: its meanings, its hypernyms, whether it may be shown."
    show = add_command(actions, "show", _show, summary)
    show.add_argument("word", nargs="+", metavar="WORD", help="a word or a wnid")
    summary = "Summarise the effect of labels.policy, include and exclude."
    add_command(actions, "policy", _policy, summary)


def _list(arguments: argparse.Namespace) -> int:
    from installation.labels.synsets import load_synsets

    policy = load_config(arguments).labels.choice
    for synset in load_synsets():
        if policy.decide(synset).shown:
            print(_line(synset))
    return OK


def _show(arguments: argparse.Namespace) -> int:
    from installation.labels.glosses import load_glosses
    from installation.labels.synsets import load_synsets
    from installation.labels.taxonomy import WordError, below, find, words_of

    config = load_config(arguments)
    try:
        wnids = find(" ".join(arguments.word))
    except WordError as error:
        raise InstallationError(str(error)) from error
    glosses = load_glosses(config.inference.engines)
    synsets = {synset.wnid: synset for synset in load_synsets()}
    for wnid in wnids:
        if wnid in synsets:
            print(_line(synsets[wnid]))
            print(f"  {glosses.get(wnid, 'no gloss')}")
            for line in _details(synsets[wnid], config.labels.choice.decide(synsets[wnid])):
                print(f"  {line}")
        else:
            print(f"{wnid}  {words_of(wnid)}")
            count = len(below(wnid))
            rule = f"under {_first_word(wnid)}"
            print(f'  not a label itself; the rule "{rule}" selects the {count} labels below it')
    return OK


def _policy(arguments: argparse.Namespace) -> int:
    from installation.labels.synsets import load_synsets

    policy = load_config(arguments).labels.choice
    synsets = load_synsets()
    decisions = {synset.wnid: policy.decide(synset) for synset in synsets}
    shown = sum(decision.shown for decision in decisions.values())
    print(f"{shown} of {len(synsets)} labels may be shown")
    for may_be_shown, text in ((True, "shown"), (False, "not shown")):
        rules = Counter(each.reason for each in decisions.values() if each.shown == may_be_shown)
        for rule, count in rules.most_common():
            print(f"  {count:5} {text}: {rule}")
    marked = [synset for synset in synsets if synset.usage]
    print(f"{len(marked)} have a usage mark in WordNet:")
    for synset in marked:
        print(f"  {_line(synset)}: {'may be' if decisions[synset.wnid].shown else 'not'} shown")
    return OK


def _line(synset: Synset) -> str:
    marks = f"  [{', '.join(synset.usage)}]" if synset.usage else ""
    return f"{synset.wnid}  {synset.words}{marks}"


def _details(synset: Synset, decision: Decision) -> Iterator[str]:
    from installation.labels.taxonomy import paths

    for path in paths(synset.wnid):
        yield " < ".join(_first_word(wnid) for wnid in path)
    rating = "not rated" if synset.imageability is None else f"{synset.imageability:.1f} of 5"
    yield f"tier: {synset.safety}; imageability: {rating}"
    yield f"{'may be shown' if decision.shown else 'is not shown'}: {decision.reason}"


def _first_word(wnid: str) -> str:
    from installation.labels.taxonomy import words_of

    return words_of(wnid).partition(", ")[0]
