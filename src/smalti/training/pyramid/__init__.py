"""The profiles `compact` and `fine`: pyramids of tokens, fitted with the rate in the loop (docs/rate.md)."""
