"""The machine behind the mirror: an unattended controller for an ImageNet Roulette installation.

A camera picture goes in at ``capture``, faces are found, followed and named in ``vision``, and
``display`` puts the newest picture on the wall with a green box and a word::

    capture --Frame--> Latest --> vision --Scene--> Latest --> display

``controller`` opens these rooms and wires them together; ``cli`` is the front door.
"""
