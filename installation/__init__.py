"""An unattended controller for a gallery installation of ImageNet Roulette.

A camera frame enters at ``capture``. ``vision`` finds faces in it, follows them and labels them.
``display`` shows the newest frame with a green box and a word::

    capture --Frame--> Latest --> vision --Scene--> Latest --> display

``wall`` creates these parts and joins them; ``commands`` is where the program starts.
"""
