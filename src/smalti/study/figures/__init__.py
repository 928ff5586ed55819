"""The study's figures, each drawn by one function from measured results to a PNG file."""
