"""The checks of ``installation check``: everything a technician would look at."""
