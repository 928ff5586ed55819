"""The kind "integer": a grid of tokens from one codebook, of which only the codes in use are stored."""
