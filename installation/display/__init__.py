"""Frame and Scene to screen: where things go, how words look, and the window that shows them."""
