"""Frame to Scene: finds faces, follows them, and finds a word for each."""
