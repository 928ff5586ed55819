"""Images into smalti: everything that a user may name as SOURCE (docs/images.md)."""
