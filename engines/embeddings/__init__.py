"""Text embeddings of the ImageNet-1k classes and the person synsets, and how they were made."""
