"""Fitting with PyTorch: networks, training loops, model files. This layer knows nothing of archives."""
