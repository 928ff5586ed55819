"""Where training meets the archive: fit a model on a source, pack a source with a model.

`request` holds the settings, `fit` and `pack` do the work, `compress` opens the images that a user names, `estimate`
predicts sizes, `bulk` works in shards. The only layer that imports both PyTorch and the archive; reading needs none of
it. Layer: below `bench`, above `training` and `exchange`.
"""

from smalti.codec.compress import append_images, compress_images
from smalti.codec.fit import FitReport, fit_file, fit_source
from smalti.codec.pack import CompressReport
from smalti.codec.request import FitRequest, PackOptions

__all__ = [
    "CompressReport",
    "FitReport",
    "FitRequest",
    "PackOptions",
    "append_images",
    "compress_images",
    "fit_file",
    "fit_source",
]
