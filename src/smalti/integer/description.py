"""What a packed network says of itself in canonical JSON, with the range of every field checked."""

from dataclasses import dataclass
from math import prod
from typing import Any, get_args

from smalti.canonical import canonical_json, parse_canonical_json
from smalti.errors import DamagedArchiveError, UnsupportedArchiveError
from smalti.integer.coding import MAX_SYMBOLS
from smalti.integer.network import (
    EXACT,
    MAX_CHANNELS,
    MAX_KERNEL,
    MAX_LAYERS,
    MAX_TABLE,
    Clip,
    IntegerNetwork,
    Kind,
    Layer,
)

__all__ = ["LayerDescription", "NetworkDescription"]

MAX_DESCRIPTION_BYTES = 1 << 16
MAX_PRECISION = 16
MAX_TABLES = 40  # a layer has at most 31 groups of weights and 5 arrays more

Pair = tuple[int, int]


@dataclass(frozen=True)
class ActivationDescription:
    """An activation without its numbers: entries is None if it clips to low..high; high is 0 if it looks pixels up."""

    low: int
    high: int
    entries: int | None

    def to_json(self) -> dict[str, Any]:
        """Return it as the file has it."""
        if self.entries is None:
            return {"kind": "clip", "low": self.low, "high": self.high}
        return {"kind": "pixels", "low": self.low, "entries": self.entries}

    @classmethod
    def from_json(cls, found: Any) -> "ActivationDescription":
        """Check what the file has."""
        kind = _kind(found, ("clip", "pixels"), "activation")
        if kind == "clip":
            low, high = _numbers(found, {"low": (-128, 255), "high": (-128, 255)}, {"kind"})
            return cls(low, high, None)
        low, entries = _numbers(found, {"low": (-EXACT, EXACT), "entries": (1, MAX_TABLE)}, {"kind"})
        return cls(low, 0, entries)


@dataclass(frozen=True)
class LayerDescription:
    """A layer without its numbers."""

    kind: Kind
    inputs: int
    outputs: int
    kernel: Pair
    stride: Pair
    padding: Pair
    activation: ActivationDescription

    @property
    def unpacked_bytes(self) -> int:
        """Bytes of its numbers as a `Layer` holds them."""
        return 2 * self.inputs * prod(self.kernel) * self.outputs + 5 * self.outputs + (self.activation.entries or 0)

    @classmethod
    def of(cls, layer: Layer) -> "LayerDescription":
        """Describe a layer."""
        made = layer.activation
        activation = (
            ActivationDescription(made.low, made.high, None)
            if isinstance(made, Clip)
            else ActivationDescription(made.low, 0, len(made.values))
        )
        return cls(layer.kind, layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.padding, activation)

    def to_json(self) -> dict[str, Any]:
        """Return it as the file has it."""
        return {
            "kind": self.kind,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "kernel": self.kernel,
            "stride": self.stride,
            "padding": self.padding,
            "activation": self.activation.to_json(),
        }

    @classmethod
    def from_json(cls, found: Any) -> "LayerDescription":
        """Check what the file has; what the numbers mean together is for `Layer`."""
        kind = _kind(found, get_args(Kind), "layer")
        pairs = {"kernel": (1, MAX_KERNEL), "stride": (1, MAX_KERNEL), "padding": (0, MAX_KERNEL - 1)}
        sizes = {"inputs": (1, MAX_CHANNELS), "outputs": (1, MAX_CHANNELS)}
        inputs, outputs = _numbers(found, sizes, {"kind", "activation", *pairs})
        kernel, stride, padding = (_pair(found[name], name, *limits) for name, limits in pairs.items())
        activation = ActivationDescription.from_json(found["activation"])
        return cls(kind, inputs, outputs, kernel, stride, padding, activation)


@dataclass(frozen=True)
class NetworkDescription:
    """Layers, and the tables that code their numbers: how many, how many symbols each, and their precision."""

    layers: tuple[LayerDescription, ...]
    tables: int
    symbols: int
    precision: int

    @property
    def unpacked_bytes(self) -> int:
        """Bytes of all numbers as an `IntegerNetwork` holds them."""
        return sum(layer.unpacked_bytes for layer in self.layers)

    @classmethod
    def of(cls, network: IntegerNetwork, tables: int, symbols: int, precision: int) -> "NetworkDescription":
        """Describe a network."""
        return cls(tuple(map(LayerDescription.of, network.layers)), tables, symbols, precision)

    def to_bytes(self) -> bytes:
        """Canonical JSON; `from_bytes` is the inverse."""
        layers = [layer.to_json() for layer in self.layers]
        return canonical_json(
            {"layers": layers, "tables": self.tables, "symbols": self.symbols, "precision": self.precision}
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "NetworkDescription":
        """Parse and check; DamagedArchiveError, or UnsupportedArchiveError for a kind not known."""
        if len(data) > MAX_DESCRIPTION_BYTES:
            raise DamagedArchiveError(f"network: a description of {len(data):,} bytes")
        found = parse_canonical_json(data, "network")
        limits = {"tables": (1, MAX_TABLES * MAX_LAYERS), "symbols": (1, MAX_SYMBOLS), "precision": (1, MAX_PRECISION)}
        tables, symbols, precision = _numbers(found, limits, {"layers"})
        layers = found["layers"]
        if type(layers) is not list or not 1 <= len(layers) <= MAX_LAYERS:
            raise DamagedArchiveError("network: its layers are no list of a possible length")
        return cls(tuple(map(LayerDescription.from_json, layers)), tables, symbols, precision)


def _kind(found: Any, known: tuple[Any, ...], what: str) -> Any:
    kind = found.get("kind") if type(found) is dict else None
    if type(kind) is not str:
        raise DamagedArchiveError(f"network: a {what} without a kind")
    if kind not in known:
        raise UnsupportedArchiveError(f"{what} of kind {kind!r} is not known to this release; use a newer smalti")
    return kind


def _numbers(found: Any, limits: dict[str, Pair], others: set[str]) -> list[int]:
    """The integers of an object that has these keys and the `others`, and no more."""
    if type(found) is not dict or set(found) != set(limits) | others:
        raise DamagedArchiveError(f"network: not an object with the keys {', '.join(sorted(set(limits) | others))}")
    for name, (low, high) in limits.items():
        if type(found[name]) is not int or not low <= found[name] <= high:
            raise DamagedArchiveError(f"network: {name} is not an integer in {low}..{high}")
    return [found[name] for name in limits]


def _pair(found: Any, name: str, low: int, high: int) -> Pair:
    if type(found) is not list or len(found) != 2 or any(type(n) is not int or not low <= n <= high for n in found):
        raise DamagedArchiveError(f"network: {name} is no pair of integers in {low}..{high}")
    return found[0], found[1]
