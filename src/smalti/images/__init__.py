"""The contract of images: batches, columns, sources, and the measure of quality.

It knows no file format, no archive and no framework. Names that have moved to other packages can be imported from here
for one more release.

Layer: above `storage`.
"""

from importlib import import_module

_MOVED = {
    "ChainedSource": "smalti.images.source",
    "ImageBatch": "smalti.images.batch",
    "ImageSource": "smalti.images.source",
    "ImageWriter": "smalti.sinks.sink",
    "Quality": "smalti.images.quality",
    "QualityMeter": "smalti.images.quality",
    "SET_NAMES": "smalti.sources.named.named",
    "SkippedFile": "smalti.images.batch",
    "open_groups": "smalti.sources.open",
    "open_image_writer": "smalti.sinks.sink",
    "open_source": "smalti.sources.open",
    "read_bytes": "smalti.images.source",
    "read_images": "smalti.images.source",
}


def __getattr__(name: str) -> object:
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(_MOVED[name]), name)
    return found
