"""What every program here shares: threads, heartbeats, signals, logging, files."""
