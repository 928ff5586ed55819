"""Sources of images: everything that a user can name as SOURCE (docs/images.md).

`open` opens a source by a name, which `spec` parses; `entry_range` reads a part of one. Each family of formats is a
folder. Layer: above `smalti.imagefiles` and `smalti.archive`, below `smalti.sinks`.
"""
