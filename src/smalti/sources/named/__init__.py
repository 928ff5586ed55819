"""Sets of images known by name, and their mirrors."""
