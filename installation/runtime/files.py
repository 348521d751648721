"""Write files atomically, and as the owner of their folder."""

# Shared with `engines`, which imports nothing from here.
from engines.files import as_owner, write_whole

__all__ = ["as_owner", "write_whole"]
