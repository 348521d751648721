"""Where the faces are in the two portraits: brow to chin, cheek to cheek, drawn by hand; xyxy."""

HOPPER_FACE = (172, 128, 362, 333)
COLLINS_FACE = (178, 82, 272, 190)
