"""Frame to Scene: detects faces, tracks them and labels each of them."""
