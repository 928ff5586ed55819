"""Integer layers, which float32 evaluates exactly in any order of additions (docs/exactness.md)."""
