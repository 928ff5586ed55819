"""The kinds of decoder that an archive can have, by the name that its header states."""

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Protocol, TypeVar

from smalti.decoders.contract import (
    CellFacts,
    CellModel,
    DecoderFacts,
    DecoderLimits,
    ImageModel,
    Network,
    Prior,
    TokenSpec,
    WriterModel,
)

__all__ = ["CELL_KINDS", "KINDS", "CellKind", "DecoderKind"]


class DecoderKind(Protocol):
    """A kind of decoder for images of one shape: all that an archive needs to know. Every difference is behind it."""

    @property
    def name(self) -> str:
        """The name that headers state."""

    @property
    def fewest_codes(self) -> int:
        """The fewest codes that an archive can use: 0 if all tokens of all images may be absent."""

    @property
    def prior_copies(self) -> int:
        """How many copies of the prior a file holds."""

    @property
    def fits_prior(self) -> bool:
        """True if a writer fits the prior to its tokens; False if the caller gives a prior, which may be shared."""

    @property
    def has_levels(self) -> bool:
        """True if its tokens have levels; the first levels alone give a preview."""

    def unpack(self, data: bytes, facts: DecoderFacts, limits: DecoderLimits) -> ImageModel:
        """Read the payload of a model section.

        Raises DamagedArchiveError or ModelError if it does not fit `facts`, LimitExceededError,
        UnsupportedArchiveError.
        """

    def unpack_shared(
        self, data: bytes, codes: int, reference: bytes, facts: DecoderFacts, limits: DecoderLimits
    ) -> ImageModel:
        """Read the model of an archive that stores a `reference` to a shared model, with the same errors as `unpack`.

        data : the payload that the model section of an archive with all codes of the shared model would have
        codes : the number of codes of the shared model
        """

    def writing(self, spec: TokenSpec, network: Network, prior: Prior | None) -> WriterModel:
        """A writer of tokens for a network of this kind.

        prior : made for `network` if the kind does not fit its prior; else None

        Raises UsageError if they do not fit each other.
        """


class CellKind(Protocol):
    """A kind of decoder for images of any sizes: all that an archive needs to know about it."""

    @property
    def name(self) -> str:
        """The name that headers state."""

    @property
    def prior_copies(self) -> int:
        """How many copies of the prior a file holds."""

    def unpack_cells(self, data: bytes, facts: CellFacts, limits: DecoderLimits) -> CellModel:
        """Read the payload of a model section.

        Raises DamagedArchiveError or ModelError if it does not fit `facts`, LimitExceededError,
        UnsupportedArchiveError.
        """


Kind = TypeVar("Kind")


class _Kinds(MutableMapping[str, Kind]):
    """Kinds by their names. The module of one is imported when it is asked for: most programs read one kind."""

    def __init__(self, places: dict[str, tuple[str, str]]) -> None:
        self._places = places
        self._kinds: dict[str, Kind | None] = dict.fromkeys(places)

    def __getitem__(self, name: str) -> Kind:
        found = self._kinds[name]
        if found is None:
            module, attribute = self._places[name]
            found = getattr(import_module(f"smalti.decoders.{module}"), attribute)
            self._kinds[name] = found
        return found

    def __setitem__(self, name: str, kind: Kind) -> None:
        self._kinds[name] = kind

    def __delitem__(self, name: str) -> None:
        del self._kinds[name]

    def __contains__(self, name: object) -> bool:
        return name in self._kinds

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)


KINDS: Mapping[str, DecoderKind] = _Kinds(
    {"integer": ("grid.grid_kind", "GRID"), "pyramid": ("pyramid.pyramid_kind", "PYRAMID")}
)
"""The kinds whose images have one shape."""

CELL_KINDS: Mapping[str, CellKind] = _Kinds(
    {"transform": ("transform.transform_kind", "TRANSFORM"), "pixels": ("pixels.pixel_kind", "PIXELS")}
)
"""The kinds whose images have any size."""
