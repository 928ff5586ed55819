"""Files of kind `pixels` that are wrong: descriptions, levels, sums, words, sizes."""

import json
import struct
from collections.abc import Callable
from typing import Any

from conformance.readers.mixtures import pixels_of
from conformance.readers.sections import HEADER, MODEL, PRIOR, TOKENS
from conformance.readers.sized import SIZED, SIZES
from conformance.refused.encoding import pack_numbers
from conformance.refused.files import Case, Cases, build, frames, patched, payload_of, sound, with_payload
from conformance.refused.transforms import described, described_header

PACKED, TOKENS_OF_PIXELS = "Packed numbers", "Tokens of pixels"
MODEL_PART, PRIOR_PART, BYTES = "The pixel model", "The pixel prior", "Its bytes"
EXACT = 1 << 24

MODELS: dict[str, tuple[dict[str, Any], str, str]] = {
    "channels-0": ({"channels": 0, "levels": []}, "no channels", BYTES),
    "channels-3": ({"channels": 3, "levels": [3, 1, 4]}, "other channels than those of the header", BYTES),
    "channels-5": ({"channels": 5, "levels": [3, 1, 4, 2, 2]}, "five channels", BYTES),
    "channels-bool": ({"channels": True}, "`true` for an integer", PACKED),
    "hides-2": ({"hides": 2}, "a `hides` of 2", BYTES),
    "hides-bool": ({"hides": True}, "`true` for `hides`", BYTES),
    "levels-fewer": ({"levels": [3, 1, 4]}, "numbers of levels of three of the four channels", BYTES),
    "levels-0": ({"levels": [3, 0, 4, 2]}, "a channel without levels", BYTES),
    "levels-65537": ({"levels": [3, 1, 65537, 2]}, "65,537 levels", BYTES),
    "levels-huge": ({"levels": [3, 1, 1 << 60, 2]}, "2^60 levels", BYTES),
    "levels-bool": ({"levels": [3, True, 4, 2]}, "`true` for a number of levels", BYTES),
    "levels-number": ({"levels": 4}, "a number for the list of levels", BYTES),
    "levels-none": ({"levels": None}, "null for the list of levels", BYTES),
    "levels-more": ({"levels": [3, 1, 4, 3]}, "more levels than numbers", PACKED),
    "key": ({"cell": 1}, "a key that nobody knows", PACKED),
    "symbols-97": ({"symbols": 97}, "97 symbols", PACKED),
    "tables-4097": ({"tables": 4097}, "4,097 tables", PACKED),
}
PRIORS: dict[str, tuple[dict[str, Any], str, str]] = {
    "radius-0": ({"radius": 0}, "a radius of 0", BYTES),
    "radius-9": ({"radius": 9}, "a radius of 9", BYTES),
    "radius-bool": ({"radius": True}, "`true` for an integer", PACKED),
    "radius-1": ({"radius": 1}, "more numbers than a smaller context takes", PACKED),
    "width-0": ({"width": 0}, "no hidden values", BYTES),
    "width-257": ({"width": 257}, "257 hidden values", BYTES),
    "depth-5": ({"depth": 5, "shifts": [0] * 28}, "five middle layers", BYTES),
    "depth-negative": ({"depth": -1, "shifts": [0] * 4}, "-1 middle layers", BYTES),
    "depth-0": ({"depth": 0, "shifts": [0] * 8}, "more numbers than there are layers for", PACKED),
    "tops-0": ({"tops": 0}, "an empty table of an edge", BYTES),
    "lefts-4097": ({"lefts": 4097}, "4,097 rows for an edge", BYTES),
    "rights-huge": ({"rights": 1 << 60}, "2^60 rows for an edge", BYTES),
    "shifts-11": ({"shifts": [5, 4, 4] * 3 + [5, 4]}, "a shift too few", BYTES),
    "shifts-25": ({"shifts": [5, 4, 4] * 3 + [5, 4, 25]}, "a shift above 24", BYTES),
    "shifts-negative": ({"shifts": [-1, 4, 4] + [5, 4, 4] * 3}, "a shift below 0", BYTES),
    "shifts-bool": ({"shifts": [True, 4, 4] + [5, 4, 4] * 3}, "`true` for a shift", BYTES),
    "shifts-number": ({"shifts": 5}, "a number for the list of shifts", BYTES),
    "key": ({"channels": 4}, "a key that nobody knows", PACKED),
    "precision-17": ({"precision": 17}, "tables of precision 17", PACKED),
}

Rows = list[list[int]]


class Numbers:
    """The arrays of a sound file, to change: lists of numbers, or of rows."""

    def __init__(self, name: str) -> None:
        payloads = frames(sound(name))
        self.model, self.prior = (payload_of(payloads, kind) for kind in (MODEL, PRIOR))
        self.header, cell = json.loads(payload_of(payloads, HEADER)), payload_of(payloads, SIZES)[1]
        found = pixels_of(self.model, self.prior, self.header, cell)
        self.description = description_of(self.prior)
        self.steps = [[int(own[0]), *(own[1:] - own[:-1]).tolist()] for own in found.levels]
        self.context: Rows = found.context.tolist()
        self.weights: list[list[int]] = [own.tolist() for own in getattr(found, "weights", [])]
        self.edges: list[Rows] = [table.tolist() for table in found.edges]
        self.networks: list[list[Any]] = [
            [own.tolist(), bias.tolist(), [each.tolist() for each in middle], *(each.tolist() for each in others)]
            for own, bias, middle, *others in found.networks
        ]

    def model_bytes(self) -> bytes:
        """The payload of the model."""
        counts = {"levels": [len(own) for own in self.steps]}
        return pack_numbers(description_of(self.model) | counts, self.steps)

    def prior_bytes(self) -> bytes:
        """The payload of the prior."""
        arrays: list[Any] = [self.context, *self.edges]
        for number, (own, bias, middle, *others) in enumerate(self.networks):
            arrays += [*self.weights[number : number + 1], own, bias, *middle, *others]
        return pack_numbers(self.description, [array for array in arrays if array])


def description_of(payload: bytes) -> dict[str, Any]:
    """The description of packed numbers."""
    (size,) = struct.unpack_from("<I", payload)
    return json.loads(payload[4 : 4 + size])


Change = Callable[[Numbers], Any]
BIAS, MIDDLE, MIDDLE_BIAS, SCORES, SCORES_BIAS = range(1, 6)


def step(channel: int, *steps: int) -> Change:
    """Change the levels of a channel."""
    return lambda numbers: numbers.steps.__setitem__(channel, list(steps))


def bias_beyond(channel: int, array: int, weights: Callable[[Numbers], int]) -> Change:
    """Make a bias so large that a sum may be one more than 2^24. weights : of the other numbers of the first output"""

    def change(numbers: Numbers) -> None:
        bias = numbers.networks[channel][array]
        (bias if array != MIDDLE_BIAS else bias[0])[0] = weights(numbers) - EXACT - 1

    return change


def bias_beyond_2_21(numbers: Numbers) -> None:
    """The same for a score of the second channel, whose shift becomes 0: one more than 2^21."""
    numbers.description["shifts"][5] = 0
    rows = numbers.networks[1][SCORES]
    numbers.networks[1][SCORES_BIAS] = [0] * len(rows[0])
    numbers.networks[1][SCORES_BIAS][0] = of_rows(rows) - (1 << 21) - 1


def many_levels(numbers: Numbers) -> None:
    """Give the one channel 4,097 levels, and scores of as many."""
    numbers.steps = [[0] + [1] * 4096]
    network = numbers.networks[0]
    network[SCORES] = [[0] * (4097 + 15) for _ in network[SCORES]]
    network[SCORES_BIAS] = [0] * (4097 + 15)


def of_first(numbers: Numbers, channel: int) -> int:
    """The largest magnitude of the first sums of a channel, for output 0, without the bias."""
    weights = sum(abs(row[0]) for row in numbers.context + numbers.networks[channel][0])
    return 255 * weights + sum(max(abs(row[0]) for row in table) for table in numbers.edges)


def of_rows(rows: Rows) -> int:
    """The same of a layer that sees hidden values."""
    return 255 * sum(abs(row[0]) for row in rows)


LEVELS: dict[str, tuple[Change, str]] = {
    "levels-equal": (step(2, 1, 1, 0, 141), "two equal levels"),
    "levels-descend": (step(2, 1, 60, -1, 141), "levels that do not ascend"),
    "levels-negative": (step(2, -1, 3, 58, 141), "a level below 0"),
    "levels-256": (step(2, 1, 1, 58, 196), "a level of 256"),
    "levels-beyond": (step(0, 0, 255, 255), "levels beyond 255"),
}
SUMS: dict[str, tuple[Change, str]] = {
    "sums-first": (bias_beyond(0, BIAS, lambda n: of_first(n, 0)), "first sums of alpha that are not exact"),
    "sums-own": (bias_beyond(3, BIAS, lambda n: of_first(n, 3)), "first sums of a colour that are not exact"),
    "sums-middle": (
        bias_beyond(1, MIDDLE_BIAS, lambda n: of_rows(n.networks[1][MIDDLE][0])),
        "sums of a middle layer that are not exact",
    ),
    "sums-scores": (
        bias_beyond(2, SCORES_BIAS, lambda n: of_rows(n.networks[2][SCORES])),
        "sums of scores that are not exact",
    ),
    "sums-candidates": (
        bias_beyond_2_21,
        "a score so large that sums of five are not exact",
    ),
    "sums-edges": (
        lambda n: n.edges[2][0].__setitem__(1, EXACT + 1),
        "an edge whose sums are not exact",
    ),
}


def cases() -> Cases:
    """All files."""
    payloads = frames(sound("pixels"))

    def case(name: str, kind: int, change: Any, reason: str, section: str) -> Case:
        data = build(with_payload(payloads, kind, change), SIZED)
        return Case(f"pixels-{name}", "pixels", data, reason, section)

    def with_bytes(payload: bytes) -> Callable[[bytes], bytes]:
        return lambda _: payload

    for name, (changes, reason, section) in MODELS.items():
        yield case(f"model-{name}", MODEL, described(changes), reason, section)
    for name, (change, reason) in LEVELS.items():
        numbers = Numbers("pixels")
        change(numbers)
        yield case(f"model-{name}", MODEL, with_bytes(numbers.model_bytes()), reason, MODEL_PART)
    yield case("model-empty", MODEL, with_bytes(b""), "an empty model", PACKED)
    yield case("model-word", MODEL, lambda payload: payload + b"\1\0\0\0", "a word after the last", PACKED)
    for name, (changes, reason, section) in PRIORS.items():
        yield case(f"prior-{name}", PRIOR, described(changes), reason, section)
    for name, (change, reason) in SUMS.items():
        numbers = Numbers("pixels")
        change(numbers)
        yield case(f"prior-{name}", PRIOR, with_bytes(numbers.prior_bytes()), reason, PRIOR_PART)
    numbers = Numbers("pixels")
    numbers.edges[0].append([0, 0, 0])
    yield case("prior-left-over", PRIOR, with_bytes(numbers.prior_bytes()), "numbers that no array takes", PACKED)
    yield case("prior-empty", PRIOR, with_bytes(b""), "an empty prior", PACKED)
    yield case("prior-word", PRIOR, lambda payload: payload + b"\1\0\0\0", "a word after the last", PACKED)
    tokens = payload_of(payloads, TOKENS)
    yield case("tokens-crc", TOKENS, patched(12, "I", 1), "tokens other than the checksum says", "Token block")
    yield case("tokens-units", TOKENS, patched(8, "I", 9), "another number of units", "Units and blocks")
    yield case("tokens-after", TOKENS, lambda payload: payload + bytes(4), "bytes after the tokens", "Units and blocks")
    (length,) = struct.unpack_from("<I", tokens, 20)
    first = with_payload(
        payloads,
        TOKENS,
        lambda payload: payload[:20] + struct.pack("<I", length + 4) + payload[24:] + b"\1\0\0\0",
        0,
    )
    reason = "a word more than the tokens need"
    yield Case("pixels-tokens-word", "pixels", build(first, SIZED), reason, TOKENS_OF_PIXELS)
    none = with_payload(payloads, TOKENS, lambda payload: payload[:20] + bytes(4), 0)
    yield Case("pixels-tokens-none", "pixels", build(none, SIZED), "tokens of no words", TOKENS_OF_PIXELS)
    yield case("sizes-cell", SIZES, patched(1, "B", 8), "cells of 8 pixels", MODEL_PART)
    header = described_header({"token_grid": [1, 3]})
    yield case("header-tokens", HEADER, header, "three tokens for the four samples of a pixel", MODEL_PART)
    header = described_header({"decoder": "transform"})
    yield case("header-decoder", HEADER, header, "a decoder whose model is another", "The transform network")
    data = build([each for each in payloads if each[:2] != (PRIOR, 0)], SIZED)
    yield Case("pixels-no-prior", "pixels", data, "no prior", "Index")
    wide = frames(sound("wide_pixels"))
    data = build(with_payload(wide, MODEL, described({"hides": 1})), SIZED)
    yield Case("pixels-model-hides-grey", "wide_pixels", data, "hidden colours without alpha", BYTES)
    numbers = Numbers("wide_pixels")
    many_levels(numbers)
    many = with_payload(wide, MODEL, with_bytes(numbers.model_bytes()))
    data = build(with_payload(many, PRIOR, with_bytes(numbers.prior_bytes())), SIZED)
    yield Case("pixels-prior-levels-4097", "wide_pixels", data, "scores of 4,097 levels", BYTES)
    data = build(with_payload(wide, HEADER, described_header({"dtype": "uint8"})), SIZED)
    yield Case("pixels-model-levels-wide", "wide_pixels", data, "levels beyond 255 for 8 bits", BYTES)
