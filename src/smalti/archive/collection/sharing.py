"""The model section: a model, or the SHA-256 of a model that several members of a collection share.

A shared model is stored once (docs/collections.md, "What members share"). No pickle, no code.
"""

import hashlib
import struct
from dataclasses import dataclass

from smalti.archive.format.header import Header
from smalti.archive.format.limits import Limits
from smalti.archive.read.sections import SharedPayloads
from smalti.decoders.contract import CellFacts, CellModel, ImageModel
from smalti.errors import DamagedArchiveError, ModelError
from smalti.storage.canonical import canonical_json, parse_canonical_json

__all__ = [
    "DIGEST_BYTES",
    "model_reference",
    "network_key",
    "pack_shared",
    "pack_shared_cells",
    "unpack_cells_model",
    "unpack_model",
    "unpack_referenced",
]

_LENGTH = struct.Struct("<I")
DIGEST_BYTES = 32


def unpack_model(data: bytes, header: Header, limits: Limits) -> ImageModel:
    """Read a model section that holds a model.

    Raises DamagedArchiveError if the model does not fit the header, LimitExceededError, UnsupportedArchiveError.
    """
    try:
        return header.kind.unpack(data, header.decoder_facts, limits)
    except ModelError as error:
        raise DamagedArchiveError(str(error)) from error


def unpack_cells_model(
    data: bytes, header: Header, cells: CellFacts, limits: Limits, shared: SharedPayloads | None
) -> CellModel:
    """Read a model section of an archive of any sizes, which holds a model, or names a shared one if `shared` is given.

    Raises DamagedArchiveError if the model does not fit the header, LimitExceededError, UnsupportedArchiveError.
    """
    if shared is not None:
        facts, payload = _split(shared(data[:DIGEST_BYTES]), limits)
        _check_same(facts, header)
        if len(data) != DIGEST_BYTES:
            raise DamagedArchiveError("bytes follow the name of a shared model")
        data = payload
    try:
        return header.cell_kind.unpack_cells(data, cells, limits)
    except ModelError as error:
        raise DamagedArchiveError(str(error)) from error


def network_key(header: Header, model: ImageModel) -> bytes:
    """A SHA-256 that is equal for archives whose models differ at most in their codes in use."""
    kind = f"{header.decoder} {header.dtype} {header.codebook_size} ".encode()
    return hashlib.sha256(kind + model.share_key()).digest()


def pack_shared(header: Header, model: ImageModel) -> bytes:
    """The payload of a shared model. header : of an archive with this model"""
    return _shared(header, model.network.codes, model.to_bytes())


def pack_shared_cells(header: Header, model: CellModel) -> bytes:
    """The payload of a shared model of archives of any sizes. header : of an archive with this model"""
    return _shared(header, header.codebook_size, model.to_bytes())


def _shared(header: Header, codes: int, model: bytes) -> bytes:
    facts = {
        "codebook_size": header.codebook_size,
        "codes": codes,
        "decoder": header.decoder,
        "dtype": header.dtype,
    }
    head = canonical_json(facts)
    return _LENGTH.pack(len(head)) + head + model


def model_reference(shared: bytes, own: bytes) -> bytes:
    """The model section of a member with a shared model.

    shared : the payload of the shared section    own : the member's own part (`SharedModel.reference`)
    """
    return hashlib.sha256(shared).digest() + own


@dataclass(frozen=True)
class _Facts:
    codebook_size: int
    codes: int
    decoder: str
    dtype: str


def unpack_referenced(data: bytes, header: Header, limits: Limits, shared: SharedPayloads) -> ImageModel:
    """Read a model section that names a shared model.

    Raises DamagedArchiveError if the model does not fit the header, LimitExceededError, UnsupportedArchiveError.
    """
    facts, model = _split(shared(data[:DIGEST_BYTES]), limits)
    _check_same(facts, header)
    try:
        return header.kind.unpack_shared(model, facts.codes, data[DIGEST_BYTES:], header.decoder_facts, limits)
    except ModelError as error:
        raise DamagedArchiveError(str(error)) from error


def _check_same(facts: _Facts, header: Header) -> None:
    if (facts.codebook_size, facts.decoder, facts.dtype) != (header.codebook_size, header.decoder, header.dtype):
        raise DamagedArchiveError("the shared model is not of the kind that the header states")


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
