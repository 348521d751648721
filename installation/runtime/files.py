"""Writing files whole, and as their folder's owner."""

# `engines` writes so, too, and imports nothing from here.
from engines.files import as_owner, write_atomic

__all__ = ["as_owner", "write_atomic"]
