"""The kind "integer": a grid of tokens from one codebook. Archives store only the codes in use."""
