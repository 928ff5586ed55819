"""How the files that a reader must refuse are made from sound ones; nothing of smalti is imported."""
