"""What ``installation labels`` tells a curator: which words may be shown, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from installation.config.model import Config
from installation.errors import InstallationError
from installation.labels.glosses import load_glosses
from installation.labels.synsets import Synset, load_synsets
from installation.labels.taxonomy import WordError, below, find, paths, words_of


def _line(synset: Synset) -> str:
    marks = f"  [{', '.join(synset.usage)}]" if synset.usage else ""
    return f"{synset.wnid}  {synset.words}{marks}"


def _short(wnid: str) -> str:
    return words_of(wnid).partition(", ")[0]


def list_lines(config: Config) -> Iterator[str]:
    """Say every label that may be shown, a line each, usage marks behind it."""
    policy = config.labels.choice
    return (_line(synset) for synset in load_synsets() if policy.decide(synset).shown)


def show_lines(config: Config, text: str) -> Iterator[str]:
    """Say all there is to know about what a word means.

    Raises
    ------
    InstallationError
        There is no such word, or the meanings have not been built.
    """
    try:
        wnids = find(text)
    except WordError as error:
        raise InstallationError(str(error)) from error
    glosses = load_glosses(config.inference.engines)
    synsets = {synset.wnid: synset for synset in load_synsets()}
    policy = config.labels.choice
    for wnid in wnids:
        if wnid not in synsets:
            count = len(below(wnid))
            yield f"{wnid}  {words_of(wnid)}"
            yield f"  no label itself; {count} below it, meant by: under {_short(wnid)}"
            continue
        synset = synsets[wnid]
        decision = policy.decide(synset)
        yield _line(synset)
        yield f"  {glosses.get(wnid, 'no meaning is given')}"
        for path in paths(wnid):
            yield f"  {' < '.join(_short(each) for each in path)}"
        imageable = (
            "not asked" if synset.imageability is None else f"{synset.imageability:.1f} of 5"
        )
        yield f"  tier: {synset.safety}; how easily it is pictured: {imageable}"
        yield f"  {'may be shown' if decision.shown else 'is not shown'}: {decision.why}"


def policy_lines(config: Config) -> Iterator[str]:
    """Say what the policy comes to: how many words, by which rules, and which are marked."""
    policy = config.labels.choice
    synsets = load_synsets()
    decisions = {synset.wnid: policy.decide(synset) for synset in synsets}
    shown = [synset for synset in synsets if decisions[synset.wnid].shown]
    yield f"{len(shown)} of {len(synsets)} labels may be shown"
    for may, words in ((True, "shown"), (False, "not shown")):
        rules = Counter(each.why for each in decisions.values() if each.shown == may)
        for why, count in rules.most_common():
            yield f"  {count:5} {words}: {why}"
    marked = [synset for synset in synsets if synset.usage]
    yield f"{len(marked)} carry a mark of usage in WordNet:"
    for synset in marked:
        yield f"  {_line(synset)}: {'may be' if decisions[synset.wnid].shown else 'not'} shown"
