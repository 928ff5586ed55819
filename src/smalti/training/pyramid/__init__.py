"""Hierarchical tokens with the rate in the loop: what the profiles `compact` and `fine` fit. See docs/rate.md."""
