"""Readers of the format, written from docs/format.md and docs/collections.md alone. They do not import smalti.

They are slow and plain. `archive` reads an archive, `pyramid` the tokens of one whose decoder is a pyramid, `sized` and
`transform` one of images of any sizes, and `collection` several archives in one file.
`python -m conformance.readers FILE...` tells what files hold.
"""

from conformance.readers.archive import Images, read_archive
from conformance.readers.basics import BadArchiveError
from conformance.readers.collection import read_collection
from conformance.readers.sized import SIZED, SizedImages, read_sized

__all__ = [
    "BadArchiveError",
    "Images",
    "SizedImages",
    "read_archive",
    "read_collection",
    "read_members",
    "read_sized",
]

COLLECTION = 1


def read_members(data: bytes) -> list[Images] | list[SizedImages]:
    """The contents of a file: one item for an archive, one for each member of a collection."""
    features = int.from_bytes(data[12:16], "little")
    if features & SIZED and not features & COLLECTION:
        return [read_sized(data)]
    return read_collection(data) if features & COLLECTION else [read_archive(data)]
