"""What the words mean, in WordNet's own: built, like the engines, from a pinned package."""

from __future__ import annotations

from pathlib import Path

from installation.errors import InstallationError
from installation.runtime.advice import build_engines

_GLOSSES = "glosses.tsv"


def load_glosses(built: Path) -> dict[str, str]:
    """Read the meanings of the 2,832 labels, by wnid.

    Raises
    ------
    InstallationError
        They have not been built.
    """
    path = built / "person-glosses" / _GLOSSES
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InstallationError(
            f"{path}: cannot be read ({error.strerror}); run `{build_engines()}`"
        ) from error
    return {wnid: gloss for wnid, _, gloss in (line.partition("\t") for line in lines)}
