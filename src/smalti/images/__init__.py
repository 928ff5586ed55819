"""Images outside archives: sources to read them from, writers, and the measure of how alike they are.

Layer: above `smalti.errors` alone. Nothing here knows of archives or of torch.

A name is imported when it is first asked for: reading an archive needs no image files and no downloads, and what
they bring with them takes longer to import than an archive takes to open.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smalti.images.batch import ImageBatch, SkippedFile, shape_words
    from smalti.images.chain import ChainedSource, read_bytes, read_images
    from smalti.images.opening import open_groups, open_source
    from smalti.images.quality import Quality, QualityMeter
    from smalti.images.sets import SET_NAMES
    from smalti.images.skipping import refuse_skipped
    from smalti.images.source import ImageSource
    from smalti.images.writers import ImageWriter, open_image_writer

__all__ = [
    "SET_NAMES",
    "ChainedSource",
    "ImageBatch",
    "ImageSource",
    "ImageWriter",
    "Quality",
    "QualityMeter",
    "SkippedFile",
    "open_groups",
    "open_image_writer",
    "open_source",
    "read_bytes",
    "read_images",
    "refuse_skipped",
    "shape_words",
]

_HOMES = {
    "SET_NAMES": "sets",
    "ChainedSource": "chain",
    "ImageBatch": "batch",
    "ImageSource": "source",
    "ImageWriter": "writers",
    "Quality": "quality",
    "QualityMeter": "quality",
    "SkippedFile": "batch",
    "open_image_writer": "writers",
    "open_groups": "opening",
    "open_source": "opening",
    "read_bytes": "chain",
    "read_images": "chain",
    "refuse_skipped": "skipping",
    "shape_words": "batch",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found  # so that it is asked for once
    return found
