"""Makes the files that a reader must refuse from sound ones. Nothing of smalti is imported."""
