"""Camera to Frame: opens a source, keeps the newest picture, notices its loss and reopens it."""
