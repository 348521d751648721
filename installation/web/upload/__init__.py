"""The web extension: visitors send an image and get it back with boxes and words.

Nothing is stored: images and responses are in memory only, and discarded once sent.
"""
