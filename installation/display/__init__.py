"""Show frames and scenes on the screen: layout, captions and the window."""
