"""Files whose model is wrong: numbers of codes, descriptions out of range, sums that are not exact."""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from conformance.readers.network import read_network
from conformance.readers.sections import MODEL
from conformance.refused.encoding import Layers, pack_network
from conformance.refused.files import Case, Cases, build, frames, payload_of, sound, with_payload

BYTES, NETWORK = "Its bytes", "The decoder network"
CODES = (1, 2, 3, 5)


def layers_of(name: str) -> Layers:
    """The layers of a sound file, in the form that pack_network takes."""
    wide, found = name == "wide", []
    for layer in read_network(payload_of(frames(sound(name)), MODEL)[2 * len(CODES) :], wide):
        keys = ("activation", "inputs", "kernel", "kind", "outputs", "padding", "stride")
        fields: dict[str, Any] = {key: getattr(layer, key) for key in keys}
        fields |= {key: getattr(layer, key).ravel().tolist() for key in ("weight", "bias", "shift")}
        if layer.values is not None:
            steps = np.diff(layer.values, prepend=0)
            fields["values"] = np.diff(steps, prepend=0).tolist() if wide else (steps % 256).tolist()
            fields["wide"] = wide
        found.append(fields)
    return found


def with_network(network: bytes, codes: tuple[int, ...] | None = None, base: str = "grid") -> bytes:
    """A file with this network and these codes."""
    payloads = frames(sound(base))
    numbers = payload_of(payloads, MODEL)[: 2 * len(CODES)] if codes is None else struct.pack(f"<{len(codes)}H", *codes)
    return build(with_payload(payloads, MODEL, lambda _: numbers + network))


Change = Callable[[Layers], Any]


def activation(number: int, **values: Any) -> Change:
    """Change an activation."""
    return lambda layers: layers[number].__setitem__("activation", layers[number]["activation"] | values)


def field(number: int, name: str, value: Any) -> Change:
    """Change a layer's description, or all its numbers of a kind."""
    return lambda layers: layers[number].__setitem__(name, value)


def first(number: int, name: str, value: int) -> Change:
    """Change the first number of an array."""
    return lambda layers: layers[number][name].__setitem__(0, value)


DESCRIPTIONS: dict[str, tuple[Change, str]] = {
    "kind": (field(1, "kind", "attention"), "a kind of layer that nobody knows"),
    "activation": (activation(0, kind="gelu"), "an activation that nobody knows"),
    "key": (field(1, "dilation", [1, 1]), "a key of a layer that nobody knows"),
    "kernel-0": (field(1, "kernel", [0, 3]), "a kernel of no taps"),
    "kernel-17": (field(1, "kernel", [17, 3]), "a kernel of 17 taps"),
    "stride": (field(1, "stride", [2, 1]), "a stride of 2 in a layer `conv`"),
    "padding": (field(1, "padding", [3, 1]), "a padding as wide as the kernel"),
    "inputs": (field(1, "inputs", 3), "other channels than the layer before has"),
    "outputs-huge": (field(0, "outputs", 1 << 40), "2^40 channels"),
    "first-is-conv": (field(0, "kind", "up"), "the first layer is not of kind `tokens`"),
    "clip-order": (activation(0, low=9, high=8), "a clip whose low is above its high"),
    "clip-256": (activation(0, high=256), "a clip beyond 255"),
    "pixels-none": (activation(1, entries=0), "pixels without entries"),
    "pixels-low": (activation(1, low=(1 << 24) + 1), "pixels from beyond 2^24"),
}
NUMBERS: dict[str, tuple[Change, str]] = {
    "weight-128": (first(1, "weight", 128), "a weight that is no int8"),
    "weight-32768": (first(0, "weight", 32768), "a weight of tokens that is no int16"),
    "bias": (first(0, "bias", 1 << 31), "a bias that is no int32"),
    "shift-25": (first(1, "shift", 25), "a shift above 24"),
    "sums": (first(1, "bias", 1 << 24), "a bias of 2^24, with which sums leave 2^24"),
    "sums-tokens": (first(0, "bias", (1 << 24) - 50), "sums of tokens leave 2^24 by less than a weight"),
    "step-256": (first(1, "values", 256), "a step of 256"),
    "level-16": (field(1, "level", 16), "a level of 16"),
}


def networks() -> Cases:
    """The decoder network."""
    for name, (change, reason) in (DESCRIPTIONS | NUMBERS).items():
        layers = layers_of("grid")
        numbers = pack_network(layers)
        change(layers)
        changed = pack_network(layers) if name in NUMBERS else described(numbers, layers)
        yield Case(f"model-{name}", "grid", with_network(changed), reason, NETWORK if name in NUMBERS else BYTES)
    layers = layers_of("grid")
    left_over = with_network(pack_network(layers, extra_tables=1))
    yield Case("model-table-left-over", "grid", left_over, "a table that no array uses", BYTES)
    for name, value in {"precision": 17, "symbols": 97, "tables": 2561}.items():
        data = with_network(pack_network(layers, description={name: value}))
        yield Case(f"model-{name}-{value}", "grid", data, f"`{name}` is {value}", BYTES)
    no_layers = with_network(pack_network(layers, description={"layers": []}))
    yield Case("model-no-layers", "grid", no_layers, "a network without layers", NETWORK)
    wide = layers_of("wide")
    wide[-1]["values"][0] = -1
    below = with_network(pack_network(wide), base="wide")
    yield Case("model-bends-below-0", "wide", below, "bends add up to a value below 0", BYTES)
    wide[-1]["values"][0] = 131071
    bend = with_network(pack_network(wide), base="wide")
    yield Case("model-bend-131071", "wide", bend, "a bend beyond 131,070", BYTES)


def described(network: bytes, layers: Layers) -> bytes:
    """The network with these descriptions and unchanged numbers."""
    length = int.from_bytes(network[:4], "little")
    text = pack_network(layers_of("grid"), description={"layers": [without_numbers(layer) for layer in layers]})
    new_length = int.from_bytes(text[:4], "little")
    return text[: 4 + new_length] + network[4 + length :]


def without_numbers(layer: dict[str, Any]) -> dict[str, Any]:
    """The description of a layer."""
    return {key: value for key, value in layer.items() if key not in ("weight", "bias", "shift", "values", "wide")}


def codes() -> Cases:
    """The codes in use, and bytes after the model."""
    network = payload_of(frames(sound("grid")), MODEL)[2 * len(CODES) :]
    for name, numbers, reason in (
        ("not-ascending", (1, 3, 2, 5), "numbers of codes are not ascending"),
        ("equal", (1, 2, 2, 5), "two numbers of codes are equal"),
        ("beyond", (1, 2, 3, 8), "a number of a code is not below the codebook's size"),
    ):
        yield Case(f"model-codes-{name}", "grid", with_network(network, numbers), reason, "Model")
    yield Case("model-odd", "grid", with_network(network[:-1]), "a byte of a word is missing", BYTES)
    zero = with_network(network + bytes(4))
    yield Case("model-zero-word", "grid", zero, "the last word is zero", "Entropy-coded groups")
    more = with_network(network + b"\1\0\0\0")
    yield Case("model-more-words", "grid", more, "words are left when all arrays are read", "Entropy-coded groups")
    yield Case("model-empty", "grid", with_network(b"", ()), "the model has no bytes", "Model")


def cases() -> Cases:
    """All cases."""
    yield from networks()
    yield from codes()
