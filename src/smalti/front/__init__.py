"""The functions of `smalti`: the same work as the command line, through the same code.

`from_images` fits and packs; `from_archives` reads, checks and changes archives. Nothing here knows how a file is laid
out, or how a model learns. Layer: below `cli` alone. `smalti.open` and `smalti.merge` are those of `archive`.
"""
