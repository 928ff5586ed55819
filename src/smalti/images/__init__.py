"""Images outside archives: sources to read them from, writers, and the measure of how alike they are.

Layer: above `smalti.errors` alone. Nothing here knows of archives or of torch.

A name is imported when it is first asked for: reading an archive needs no image files and no downloads, and what
they bring with them takes longer to import than an archive takes to open.
"""
