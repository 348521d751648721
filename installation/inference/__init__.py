"""(Engine, frame, regions) to arrays: runs networks, and knows nothing of faces or labels."""
