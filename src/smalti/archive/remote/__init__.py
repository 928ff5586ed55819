"""Archives behind URLs: few requests, each for what is needed (docs/remote.md).

`file` is what the reader sees; `coalescing` decides which requests a read takes; `connection` and `http` make them,
through fsspec, which is imported with the first URL that is read.
"""

from smalti.archive.remote.coalescing import GAP_BYTES, REQUEST_BYTES
from smalti.archive.remote.file import TAIL_BYTES, RemoteFile

__all__ = ["GAP_BYTES", "REQUEST_BYTES", "TAIL_BYTES", "RemoteFile"]
