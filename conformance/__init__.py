"""Files and readers with which a reader of the format in any language starts (README.md)."""
