"""Fitting codecs with PyTorch: network, quantiser, training loop, model files. It knows nothing of archives."""
