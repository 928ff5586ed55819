"""Fits transforms of cells and their priors (the profile `photo`), and encodes images of any size with them."""
