"""TIFF files: pages, stacks, and what programs for microscopes say of them."""
