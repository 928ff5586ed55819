"""Exact decoders in PyTorch: they give the pixels of the NumPy decoders bit for bit, on any device.

    kinds.py            TORCH_DECODERS, TORCH_CELL_DECODERS: one line for each kind of decoder
    grid.py, pyramid.py, transform.py, pixels.py   the decoders
    layers.py           layers of integer networks, and how products stay exact

Layer: above `decoders`, below `training` and `interop`. This package knows nothing of files or of training.
"""
