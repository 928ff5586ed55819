"""Files of pixels with a prior of mixtures that are wrong: descriptions, sums, words, levels beyond the last."""

import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from conformance.readers.basics import BadArchiveError, Coder
from conformance.readers.mixtures import pixels_of
from conformance.readers.sections import PRIOR, TOKENS
from conformance.readers.sized import SIZED, SIZES
from conformance.readers.sizes import read_sizes
from conformance.refused.encoding import Encoder
from conformance.refused.files import Case, Cases, build, canonical, frames, payload_of, sound, with_payload
from conformance.refused.pixel_files import (
    BIAS,
    BYTES,
    EXACT,
    MIDDLE,
    MIDDLE_BIAS,
    PACKED,
    SCORES,
    SCORES_BIAS,
    Change,
    Numbers,
    bias_beyond,
    description_of,
    of_first,
    of_rows,
)
from conformance.refused.transforms import described

MIXTURES, SYMBOLS = "Mixtures", "Symbols of mixtures"

PRIORS: dict[str, tuple[dict[str, Any], str, str]] = {
    "components-0": ({"components": 0}, "no components", BYTES),
    "components-2": ({"components": 2}, "more numbers than two components take", PACKED),
    "components-5": ({"components": 5}, "five components", BYTES),
    "components-bool": ({"components": True}, "`true` for an integer", PACKED),
    "components-null": ({"components": None}, "null for the number of components", BYTES),
    "places-17": ({"places": 17}, "weights of 17 places", BYTES),
    "places-negative": ({"places": -1}, "weights of -1 places", BYTES),
    "places-bool": ({"places": True}, "`true` for an integer", PACKED),
    "radius-0": ({"radius": 0}, "a radius of 0", BYTES),
    "radius-9": ({"radius": 9}, "a radius of 9", BYTES),
    "radius-1": ({"radius": 1}, "more numbers than a smaller context takes", PACKED),
    "width-0": ({"width": 0}, "no hidden values", BYTES),
    "width-257": ({"width": 257}, "257 hidden values", BYTES),
    "depth-5": ({"depth": 5, "shifts": [0] * 28}, "five middle layers", BYTES),
    "depth-0": ({"depth": 0, "shifts": [0] * 8}, "more numbers than there are layers for", PACKED),
    "tops-0": ({"tops": 0}, "an empty table of an edge", BYTES),
    "rights-huge": ({"rights": 1 << 60}, "2^60 rows for an edge", BYTES),
    "shifts-11": ({"shifts": [5, 4, 4] * 3 + [5, 4]}, "a shift too few", BYTES),
    "shifts-25": ({"shifts": [5, 4, 4] * 3 + [5, 4, 25]}, "a shift above 24", BYTES),
    "key": ({"levels": 4}, "a key that nobody knows", PACKED),
    "precision-17": ({"precision": 17}, "tables of precision 17", PACKED),
}
SUMS: dict[str, tuple[Change, str]] = {
    "sums-first": (bias_beyond(0, BIAS, lambda n: of_first(n, 0)), "first sums of alpha that are not exact"),
    "sums-own": (bias_beyond(3, BIAS, lambda n: of_first(n, 3)), "first sums of a colour that are not exact"),
    "sums-middle": (
        bias_beyond(1, MIDDLE_BIAS, lambda n: of_rows(n.networks[1][MIDDLE][0])),
        "sums of a middle layer that are not exact",
    ),
    "sums-outputs": (
        bias_beyond(2, SCORES_BIAS, lambda n: of_rows(n.networks[2][SCORES])),
        "sums of outputs that are not exact",
    ),
    "sums-edges": (lambda n: n.edges[2][0].__setitem__(1, EXACT + 1), "an edge whose sums are not exact"),
}


class Forced(Coder):
    """Takes the last symbol each time, and lists where its units lie."""

    def __init__(self) -> None:
        super().__init__(b"")
        self.encoder = Encoder()

    def each(self, units: Sequence[int]) -> int:
        """The last symbol."""
        self.encoder.steps.append((sum(units[:-1]), units[-1]))
        return len(units) - 1


def level_beyond(payload: bytes) -> bytes:
    """The tokens of a block whose first colours are 1 and 255: level 511 of 300."""
    numbers, payloads = Numbers("mixtures"), frames(sound("mixtures"))
    sizes = read_sizes(payload_of(payloads, SIZES), numbers.header["images"])
    coder, grids = Forced(), [(rows, columns) for _, _, _, rows, columns in sizes.blocks()[0]]
    with suppress(BadArchiveError):
        pixels_of(numbers.model, numbers.prior, numbers.header, sizes.cell).decode(coder, grids)
    words = coder.encoder.to_bytes()
    return payload[:20] + struct.pack("<I", len(words)) + words


def cases() -> Cases:
    """All files."""
    payloads = frames(sound("mixtures"))

    def case(name: str, kind: int, change: Any, reason: str, section: str) -> Case:
        data = build(with_payload(payloads, kind, change), SIZED)
        return Case(f"mixtures-{name}", "mixtures", data, reason, section)

    def with_bytes(payload: bytes) -> Callable[[bytes], bytes]:
        return lambda _: payload

    for name, (changes, reason, section) in PRIORS.items():
        yield case(f"prior-{name}", PRIOR, described(changes), reason, section)
    yield case("prior-no-components", PRIOR, without_components, "no `components`, but `places`", PACKED)
    for name, (change, reason) in SUMS.items():
        numbers = Numbers("mixtures")
        change(numbers)
        yield case(f"prior-{name}", PRIOR, with_bytes(numbers.prior_bytes()), reason, BYTES)
    numbers = Numbers("mixtures")
    numbers.edges[0].append([0, 0, 0])
    yield case("prior-left-over", PRIOR, with_bytes(numbers.prior_bytes()), "numbers that no array takes", PACKED)
    yield case("prior-word", PRIOR, lambda payload: payload + b"\1\0\0\0", "a word after the last", PACKED)
    tokens = payload_of(payloads, TOKENS)
    (length,) = struct.unpack_from("<I", tokens, 20)
    longer = tokens[:20] + struct.pack("<I", length + 4) + tokens[24:] + b"\1\0\0\0"
    for name, first, reason, section in (
        ("word", longer, "a word more than the tokens need", SYMBOLS),
        ("none", tokens[:20] + bytes(4), "tokens of no words", SYMBOLS),
        ("level", level_beyond(tokens), "a level beyond the last one, 511 of 300", MIXTURES),
    ):
        data = build(with_payload(payloads, TOKENS, with_bytes(first), 0), SIZED)
        yield Case(f"mixtures-tokens-{name}", "mixtures", data, reason, section)


def without_components(payload: bytes) -> bytes:
    """The prior with a description that lacks this key."""
    (size,) = struct.unpack_from("<I", payload)
    found = description_of(payload)
    del found["components"]
    text = canonical(found)
    return struct.pack("<I", len(text)) + text + payload[4 + size :]
