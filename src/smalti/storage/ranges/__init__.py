"""Ranges of bytes of files behind URLs: few requests, each for what is needed (docs/remote.md).

`remote_file` reads by position, `seekable` makes of it a file to seek in; `coalesce` decides which requests a read
takes; `connection` and `http` make them, through fsspec, which is imported with the first URL that is read.
"""
