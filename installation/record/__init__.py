"""What was said, never to whom: settled words by the hour, in a database that survives."""
