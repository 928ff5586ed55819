"""Integer layers: exact in float32, in any order (docs/exactness.md)."""
