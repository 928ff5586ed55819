"""The kinds of decoder that an archive can have, by the name that its header states."""

from collections.abc import Mapping
from typing import Protocol

from smalti.decoders.contract import DecoderFacts, DecoderLimits, ImageModel, Network, Prior, TokenSpec, WriterModel
from smalti.decoders.grid.grid_kind import GRID
from smalti.decoders.pyramid.pyramid_kind import PYRAMID

__all__ = ["KINDS", "DecoderKind"]


class DecoderKind(Protocol):
    """All that an archive needs to know of a kind of decoder. Whatever differs between kinds is behind it."""

    @property
    def name(self) -> str:
        """What headers call it."""

    @property
    def fewest_codes(self) -> int:
        """The fewest codes that can occur in an archive: 0 if all tokens of all images may be absent."""

    @property
    def prior_copies(self) -> int:
        """Times the prior is in a file."""

    @property
    def fits_prior(self) -> bool:
        """Whether a writer fits the prior to the tokens of its archive; else it is given, and may be shared."""

    @property
    def has_levels(self) -> bool:
        """Whether its tokens have levels, of which the first ones give a preview."""

    def unpack(self, data: bytes, facts: DecoderFacts, limits: DecoderLimits) -> ImageModel:
        """Read the payload of a model section.

        Raises DamagedArchiveError or ModelError if it does not fit `facts`, LimitExceededError,
        UnsupportedArchiveError.
        """

    def unpack_shared(
        self, data: bytes, codes: int, reference: bytes, facts: DecoderFacts, limits: DecoderLimits
    ) -> ImageModel:
        """The same for an archive that keeps a `reference` to a model that it shares.

        data : the payload that the model section of an archive with all codes of the shared model would have
        codes : of the shared model
        """

    def writing(self, spec: TokenSpec, network: Network, prior: Prior | None) -> WriterModel:
        """How to write tokens for a network of this kind.

        prior : made for `network`, of a kind that does not fit its prior; else None

        Raises UsageError if they do not fit each other.
        """


KINDS: Mapping[str, DecoderKind] = {
    "integer": GRID,
    "pyramid": PYRAMID,
}
