"""Measurements of smalti, each a program of its own: see README.md."""
