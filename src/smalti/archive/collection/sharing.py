"""Models that several members of a collection need, stored once (docs/collections.md, "What members share")."""

import hashlib
import struct
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.header import Header
from smalti.archive.format.limits import Limits
from smalti.archive.read.image_model import ImageModel, TokenModel
from smalti.archive.read.model_section import unpack_model
from smalti.archive.read.sections import SharedPayloads
from smalti.decoders.layers.integer_network import IntegerNetwork
from smalti.decoders.layers.network_packing import pack_network, unpack_network
from smalti.errors import DamagedArchiveError
from smalti.storage.canonical import canonical_json, parse_canonical_json

__all__ = [
    "DIGEST_BYTES",
    "SharedTokens",
    "model_reference",
    "network_key",
    "pack_shared",
    "unpack_referenced",
]

_LENGTH = struct.Struct("<I")
DIGEST_BYTES = 32


class SharedTokens:
    """The codes that several archives use of one network: a union that grows, as long as they agree."""

    def __init__(self, header: Header, model: TokenModel) -> None:
        self._header, self._network = header, model.network
        self._rows: dict[int, NDArray[np.int16]] = {}
        self.add(model)

    def add(self, model: TokenModel) -> bool:
        """Take in the codes of an archive with the same network; False, and nothing changes, if one is another."""
        rows = dict(zip(model.code_ids.tolist(), model.network.layers[0].weight, strict=True))
        if any(number in self._rows and not np.array_equal(self._rows[number], row) for number, row in rows.items()):
            return False
        self._rows |= rows
        return True

    @property
    def code_ids(self) -> NDArray[np.uint16]:
        """Numbers of all codes, ascending: uint16 [U]."""
        return np.array(sorted(self._rows), np.uint16)

    @property
    def network(self) -> IntegerNetwork:
        """The network with these codes."""
        first, *others = self._network.layers
        weight = np.stack([self._rows[number] for number in sorted(self._rows)])
        return IntegerNetwork((replace(first, weight=weight), *others))

    def payload(self) -> bytes:
        """What the shared section holds."""
        model = TokenModel(self.network, self.code_ids, self._header.codebook_size, self._header.token_grid)
        return pack_shared(self._header, len(self._rows), model.to_bytes())


def network_key(header: Header, model: ImageModel) -> bytes:
    """Equal for archives whose models are the same but for the codes in use: a SHA-256."""
    kind = f"{header.decoder} {header.dtype} {header.codebook_size} ".encode()
    if isinstance(model, TokenModel):
        first, *others = model.network.layers
        blank = replace(first, weight=np.zeros_like(first.weight[:1]))
        return hashlib.sha256(kind + pack_network(IntegerNetwork((blank, *others)))).digest()
    return hashlib.sha256(kind + model.to_bytes()).digest()


def pack_shared(header: Header, codes: int, model: bytes) -> bytes:
    """The payload of a shared model: `model` is what the model section of an archive like `header` would hold."""
    facts = {"codebook_size": header.codebook_size, "codes": codes, "decoder": header.decoder, "dtype": header.dtype}
    head = canonical_json(facts)
    return _LENGTH.pack(len(head)) + head + model


def model_reference(shared: bytes, code_ids: NDArray[np.uint16] | None, own: NDArray[np.uint16] | None) -> bytes:
    """What the model section of a member holds.

    shared : the payload of the shared section
    code_ids, own : uint16, numbers of the codes of the shared model, and of the member's, if it has a grid of tokens
    """
    digest = hashlib.sha256(shared).digest()
    if code_ids is None or own is None:
        return digest
    return digest + np.searchsorted(code_ids, own).astype("<u2").tobytes()


@dataclass(frozen=True)
class _Facts:
    codebook_size: int
    codes: int
    decoder: str
    dtype: str


def unpack_referenced(data: bytes, header: Header, limits: Limits, shared: SharedPayloads) -> ImageModel:
    """Read a model section that names a shared model.

    Raises DamagedArchiveError if it does not fit it, LimitExceededError, UnsupportedArchiveError.
    """
    payload = shared(data[:DIGEST_BYTES])
    facts, model = _split(payload, limits)
    if (facts.codebook_size, facts.decoder, facts.dtype) != (header.codebook_size, header.decoder, header.dtype):
        raise DamagedArchiveError("the shared model is not of the kind that the header states")
    if header.decoder == "pyramid":
        if len(data) != DIGEST_BYTES:
            raise DamagedArchiveError("bytes follow the name of a shared model")
        return unpack_model(model, header, limits)
    places = np.frombuffer(data[DIGEST_BYTES:], "<u2") if len(data) % 2 == 0 else np.empty(0, "<u2")
    whole = _tokens(model, facts, header, limits)
    ascending = len(places) == header.codes_used and (np.diff(places.astype(np.int64)) > 0).all()
    if not ascending or int(places[-1]) >= facts.codes:
        raise DamagedArchiveError("the codes that it takes of a shared model are not ascending within it")
    own = TokenModel(whole.network.with_codes(places), whole.code_ids[places], facts.codebook_size, header.token_grid)
    return unpack_model(own.to_bytes(), header, limits)  # every check that a model of its own would meet


def _split(payload: bytes, limits: Limits) -> tuple[_Facts, bytes]:
    if len(payload) < _LENGTH.size:
        raise DamagedArchiveError("too short for a shared model")
    head_bytes: int = _LENGTH.unpack_from(payload)[0]
    limits.check("header_bytes", head_bytes, "the head of a shared model")
    end = _LENGTH.size + head_bytes
    if end > len(payload):
        raise DamagedArchiveError("the head of a shared model ends after its data")
    found = parse_canonical_json(payload[_LENGTH.size : end], "shared model")
    kinds = {"codebook_size": int, "codes": int, "decoder": str, "dtype": str}
    if not isinstance(found, dict) or {name: type(value) for name, value in found.items()} != kinds:
        raise DamagedArchiveError("the head of a shared model does not have the fields it must have")
    facts = _Facts(**found)
    if not 1 <= facts.codes <= facts.codebook_size <= 1 << 16:
        raise DamagedArchiveError("a field of the head of a shared model is out of range")
    return facts, payload[end:]


def _tokens(model: bytes, facts: _Facts, header: Header, limits: Limits) -> TokenModel:
    ids_bytes = 0 if facts.codes == facts.codebook_size else 2 * facts.codes
    if len(model) < ids_bytes:
        raise DamagedArchiveError("too short for the numbers of its codes")
    every = np.arange(facts.codes, dtype=np.uint16)
    code_ids = np.frombuffer(model, "<u2", facts.codes).astype(np.uint16) if ids_bytes else every
    network = unpack_network(model[ids_bytes:], limits.model_bytes, header.dtype)
    if network.codes != facts.codes:
        raise DamagedArchiveError(f"a shared model of {network.codes} codes, not the {facts.codes} that it states")
    return TokenModel(network, code_ids, facts.codebook_size, header.token_grid)
