"""The kind `transform`: how its model is read."""

from smalti.decoders.contract import CellFacts, DecoderLimits
from smalti.decoders.transform.transform_model import TransformModel
from smalti.decoders.transform.transform_packing import unpack_transform
from smalti.errors import DamagedArchiveError

__all__ = ["TRANSFORM", "TransformKind"]


class TransformKind:
    """The kind of images of any size as quantised coefficients of a learned transform."""

    name = TransformModel.kind
    prior_copies = 1

    def unpack_cells(self, data: bytes, facts: CellFacts, limits: DecoderLimits) -> TransformModel:
        """Read the payload of a model section, and check that it fits the archive."""
        network = unpack_transform(data, str(facts.dtype), limits.model_bytes)
        found = (network.channels, network.cell, network.components)
        if found != (facts.channels, facts.cell, facts.tokens_per_cell):
            raise DamagedArchiveError(
                f"it has {found[0]} channels, cells of {found[1]} pixels and {found[2]} tokens for a cell, not "
                f"{facts.channels}, {facts.cell} and {facts.tokens_per_cell}"
            )
        limits.check("network_operations", network.operations * facts.block_cells, "a token block")
        return TransformModel(network, limits.model_bytes)


TRANSFORM = TransformKind()
