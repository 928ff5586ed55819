"""Exact integer decoders: one folder for each kind, and the layers that they share."""
