"""Exact decoders in PyTorch: the pixels of the NumPy decoders bit for bit, on any device.

    kinds.py            TORCH_DECODERS: one line for each kind of decoder
    grid.py, pyramid.py the decoders
    layers.py           layers of integer networks, and how products are kept exact

Layer: above `decoders`, below `training` and `interop`; it knows nothing of files or of training.
"""
