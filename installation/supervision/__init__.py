"""What keeps the wall up without a hand: heartbeats, word to systemd, opening hours."""
