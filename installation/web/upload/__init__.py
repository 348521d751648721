"""The web extension: visitors send a picture and get it back with boxes and words.

Nothing of it is kept: pictures and answers are in memory only, and gone with the response.
"""
