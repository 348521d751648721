"""The commands, one module each: its arguments, a few lines of work, its output.

A command imports what it runs inside its function, so that ``--help`` and wrong usage load nothing.
"""
