"""Writing files atomically, and as the owner of their folder."""

# `engines` does so, too, and imports nothing from `installation`.
from engines.files import as_owner, write_atomic

__all__ = ["as_owner", "write_atomic"]
