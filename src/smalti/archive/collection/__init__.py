"""Collections: several archives in one file, or listed in one (docs/collections.md)."""
