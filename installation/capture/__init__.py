"""Camera to Frame: opens a source, keeps its newest frame, detects outages and reopens it."""
