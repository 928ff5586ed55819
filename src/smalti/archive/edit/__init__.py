"""Changing archives: merge, append, drop images, relabel."""
