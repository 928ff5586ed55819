"""What a reader of the format in any language starts from: see README.md."""
