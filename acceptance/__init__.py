"""Slow checks of what smalti promises, each a program of its own: see README.md."""
