"""The decoder and the codes in use as a table of tensors followed by plain numbers. No pickle, no code."""

import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.archive.header import Header, canonical_json, parse_canonical_json
from smalti.archive.limits import Limits
from smalti.errors import DamagedArchiveError, ModelError
from smalti.floating import DecoderWeights

__all__ = ["pack_model", "unpack_model"]

_LENGTH = struct.Struct("<I")
_TENSORS = ("codebook", "up1_weight", "up1_bias", "up2_weight", "up2_bias")


def pack_model(weights: DecoderWeights, code_ids: NDArray[np.integer]) -> bytes:
    """Serialise `weights` (codebook [U, D]) and the number in [0, K) of each of its codes (ascending [U])."""
    tensors: list[tuple[str, NDArray[Any]]] = [("code_ids", code_ids.astype("<u2"))]
    tensors += [(name, getattr(weights, name).astype("<f4")) for name in _TENSORS]
    table = canonical_json(
        [{"dtype": tensor.dtype.str, "name": name, "shape": list(tensor.shape)} for name, tensor in tensors]
    )
    return _LENGTH.pack(len(table)) + table + b"".join(tensor.tobytes() for _, tensor in tensors)


def unpack_model(data: bytes, header: Header, limits: Limits) -> tuple[DecoderWeights, NDArray[np.uint16]]:
    """Read back what `pack_model` wrote, for the codes and channels of `header`; else DamagedArchiveError."""
    if len(data) < _LENGTH.size:
        raise DamagedArchiveError("model: too short")
    table_bytes: int = _LENGTH.unpack_from(data)[0]
    limits.check("header_bytes", table_bytes, "the table of the model")
    start = _LENGTH.size + table_bytes
    if start > len(data):
        raise DamagedArchiveError("model: its table ends after its data")
    tensors: dict[str, NDArray[Any]] = {}
    for name, dtype, shape in _parse_table(data[_LENGTH.size : start]):
        count = math.prod(shape)
        if count * dtype.itemsize > len(data) - start:
            raise DamagedArchiveError(f"model: {name} ends after the data")
        tensors[name] = np.frombuffer(data, dtype, count, start).reshape(shape)
        start += count * dtype.itemsize
    if start != len(data):
        raise DamagedArchiveError("model: bytes are left after the last tensor")
    code_ids = tensors.pop("code_ids").astype(np.uint16)
    try:
        weights = DecoderWeights(**{name: tensor.astype(np.float32) for name, tensor in tensors.items()})
    except ModelError as error:
        raise DamagedArchiveError(f"model: {error}") from error
    _check_against(header, weights, code_ids)
    return weights, code_ids


def _parse_table(data: bytes) -> list[tuple[str, np.dtype[Any], tuple[int, ...]]]:
    rows = parse_canonical_json(data, "model table")
    expected = [("code_ids", "<u2"), *((name, "<f4") for name in _TENSORS)]
    if not isinstance(rows, list) or len(rows) != len(expected):
        raise DamagedArchiveError(f"model: its table must list {len(expected)} tensors")
    parsed: list[tuple[str, np.dtype[Any], tuple[int, ...]]] = []
    for row, (name, dtype) in zip(rows, expected, strict=True):
        if not isinstance(row, dict) or set(row) != {"dtype", "name", "shape"}:
            raise DamagedArchiveError("model: a row of its table is not dtype, name and shape")
        shape = row["shape"]
        if row["name"] != name or row["dtype"] != dtype or not isinstance(shape, list):
            raise DamagedArchiveError(f"model: expected {name} of {dtype} in its table")
        if len(shape) > 4 or not all(type(size) is int and 1 <= size < 1 << 32 for size in shape):
            raise DamagedArchiveError(f"model: the shape of {name} cannot be")
        parsed.append((name, np.dtype(dtype), tuple(shape)))
    return parsed


def _check_against(header: Header, weights: DecoderWeights, code_ids: NDArray[np.uint16]) -> None:
    if code_ids.shape != (header.codes_used,) or weights.codes != header.codes_used:
        raise DamagedArchiveError(f"model: it does not hold the {header.codes_used} codes the header states")
    if (np.diff(code_ids.astype(np.int64)) <= 0).any() or int(code_ids[-1]) >= header.codebook_size:
        raise DamagedArchiveError("model: the numbers of its codes are not ascending within the codebook")
    if weights.channels != header.image_shape[2]:
        raise DamagedArchiveError(f"model: it makes {weights.channels} channels, not {header.image_shape[2]}")
