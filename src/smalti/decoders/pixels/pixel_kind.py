"""The kind `pixels`: how its model is read."""

import numpy as np

from smalti.decoders.contract import CellFacts, DecoderLimits
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.pixel_packing import unpack_levels
from smalti.errors import DamagedArchiveError

__all__ = ["PIXELS", "PixelKind"]


class PixelKind:
    """The kind of images of any size as samples, each coded by what is expected of it from those before."""

    name = PixelModel.kind
    prior_copies = 1

    def unpack_cells(self, data: bytes, facts: CellFacts, limits: DecoderLimits) -> PixelModel:
        """Read the payload of a model section, and check that it fits the archive."""
        levels, hides = unpack_levels(data, int(np.iinfo(facts.dtype).max), limits.model_bytes)
        found = (len(levels), 1, len(levels))
        if found != (facts.channels, facts.cell, facts.tokens_per_cell):
            raise DamagedArchiveError(
                f"it has {found[0]} channels, cells of one pixel and {found[2]} tokens for a cell, not "
                f"{facts.channels}, {facts.cell} and {facts.tokens_per_cell}"
            )
        return PixelModel(levels, str(facts.dtype), hides, limits.model_bytes)


PIXELS = PixelKind()
