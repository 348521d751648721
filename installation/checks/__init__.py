"""What a technician would look at, looked at: ``installation check``."""
