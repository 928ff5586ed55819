"""Bytes behind URLs: few requests, each for what is needed (docs/remote.md)."""
