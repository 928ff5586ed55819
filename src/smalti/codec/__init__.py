"""Where training meets the archive: fit a model on a source, pack a source with a model.

The only layer that imports both torch and the archive; reading needs none of it.
"""

from smalti.codec.compressing import compress_images, packing_of, unfitted
from smalti.codec.fitting import fit_source
from smalti.codec.groups import AnyModel, Packer, compress_groups
from smalti.codec.loading import load_model
from smalti.codec.packing import CompressReport, compress_source
from smalti.codec.pyramids import PyramidPacking, compress_with_pyramid, fit_pyramid_source
from smalti.codec.wanted import Wanted

__all__ = [
    "AnyModel",
    "CompressReport",
    "Packer",
    "PyramidPacking",
    "Wanted",
    "compress_groups",
    "compress_images",
    "compress_source",
    "compress_with_pyramid",
    "fit_pyramid_source",
    "fit_source",
    "load_model",
    "packing_of",
    "unfitted",
]
