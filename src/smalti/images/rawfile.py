"""A file whose bytes are known beforehand, and the check of what was found or fetched against it."""

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from smalti.errors import SourceError
from smalti.images.idx import open_idx

__all__ = ["RawFile"]

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class RawFile:
    """A file of a named set, unpacked.

    name : its usual name, such as train-images-idx3-ubyte
    size_bytes : its length
    sha256 : of its bytes, in hexadecimal
    """

    name: str
    size_bytes: int
    sha256: str

    def is_at(self, path: Path, copy_to: BinaryIO | None = None) -> bool:
        """Whether the file at `path`, plain or gzip, is this one; its unpacked bytes go to `copy_to` on the way.

        Never reads much past the known length, so a hostile file cannot fill the disk.
        """
        digest, found = hashlib.sha256(), 0
        try:
            with open_idx(path) as file:
                while block := file.read(_BLOCK_BYTES):
                    found += len(block)
                    if found > self.size_bytes:
                        return False
                    digest.update(block)
                    if copy_to is not None:
                        copy_to.write(block)
        except (EOFError, zlib.error, SourceError):
            return False
        except OSError:
            if copy_to is not None:
                raise  # the disk may be full: not the fault of the bytes
            return False
        return found == self.size_bytes and digest.hexdigest() == self.sha256
