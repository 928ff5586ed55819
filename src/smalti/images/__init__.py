"""Images outside archives: sources to read them from, writers, and the measure of how alike they are.

Layer: above `smalti.errors` alone. Nothing here knows of archives or of torch.
"""

from smalti.images.batch import ImageBatch, SkippedFile, shape_words
from smalti.images.chain import ChainedSource, read_images
from smalti.images.named import SET_NAMES
from smalti.images.opening import open_source
from smalti.images.quality import Quality, QualityMeter
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
    "open_image_writer",
    "open_source",
    "read_images",
    "shape_words",
]
