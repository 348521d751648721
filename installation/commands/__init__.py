"""The commands: one file each, with its arguments, a few lines of work, and its output."""
