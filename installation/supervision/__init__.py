"""Unattended operation: systemd notification, opening hours, restarts, temperature, core dumps."""
