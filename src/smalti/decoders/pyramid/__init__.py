"""Decoders of hierarchical tokens, and their priors (docs/format.md)."""
