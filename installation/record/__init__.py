"""The record: which words settled in which hour, never on whom, in a crash-safe database."""
