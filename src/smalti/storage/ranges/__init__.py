"""Byte ranges of files behind URLs, with few requests, each for the bytes that are needed (docs/remote.md).

`remote_file` reads by position, or as a file to seek in. `connection` decides which requests a read takes, and makes
them through fsspec; `http` makes those to web servers. fsspec is imported when the first URL is read.
"""
