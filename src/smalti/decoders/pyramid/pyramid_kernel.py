"""`PyramidPrior` as a kernel: the same groups, symbols and units, for some hundred images at once.

Latents lie in lines: one for each number of an image, over all images. So the features of a position are lines, too,
and nothing is gathered; sums go over images, four features at once.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import kernel
from smalti.decoders.layers.products_kernel import add_products, begin_with
from smalti.decoders.pyramid.context import feature_lines
from smalti.decoders.pyramid.pyramid_network import ABSENT, PyramidNetwork, TokenLayout
from smalti.entropy.frequency import FrequencyTable
from smalti.entropy.priors import EXP, FARTHEST, MOST_HIDDEN, UNITS, NetworkPrior, TablePrior
from smalti.entropy.stack_kernel import Coder, decoding, encoding, ended, lefts_of, stack, step
from smalti.errors import UsageError

__all__ = ["GROUP", "KernelPyramid", "decode", "encode", "share"]

Singles = NDArray[np.float32]
Whole = NDArray[np.int32]
Ints = NDArray[np.int64]

ROWS = 256
"""Images whose network runs at once: what they take stays in the caches."""

GROUP = 16
"""Codes whose units are added up, so that the code of a place is found in fewer steps."""

_ONE = np.uint64(1)
_PLACE = np.uint64(UNITS - 1)
_ZERO = np.float32(0)
_MOST_HIDDEN = np.float32(MOST_HIDDEN)
_FARTHEST = np.float32(FARTHEST)
_BEST = np.float32(EXP[0])  # no other distance has this weight
_EXACT_CODES = 256
"""Weights of so many codes add up to at most 2**24, so float32 adds them exactly."""

_FEW_CODES = 1024
_NUDGE = 2.0**-27
"""Weights of so many codes add up to at most 2**26, so a quotient that is no whole number is 2**-26 or more below the
next one. A product with a reciprocal is off by at most 2**-28. So one division is enough for all codes: the nudge makes
up for what is off, and reaches no whole number that the quotient does not."""


class KernelLevel(NamedTuple):
    """The prior of a level, as a kernel takes it.

    features : lines of the features of each position, int32 [positions, F]; the last line is zeros
    targets : lines that a code is added to, int32 [positions, d]    codes : float32 [K, d]
    lefts : of tables, where the units of each code begin, [P, K + 1]; empty for a network
    weight1, bias1, weight2, bias2 : of a network    scales : 2**-shift1, 2**-shift2
    """

    features: Whole
    targets: Whole
    codes: Singles
    lefts: Ints
    weight1: Singles
    bias1: Singles
    weight2: Singles
    bias2: Singles
    scales: Singles
    exponentials: Singles


class KernelPyramid(NamedTuple):
    """All levels. depths : where the units of each depth begin, [1, L + 2]    lines : of latents, the zeros included"""

    levels: tuple[KernelLevel, ...]
    depths: Ints
    lines: int
    layout: TokenLayout

    @staticmethod
    def of(
        network: PyramidNetwork,
        layout: TokenLayout,
        depths: FrequencyTable,
        priors: tuple[TablePrior | NetworkPrior, ...],
    ) -> "KernelPyramid":
        """The numbers of a prior."""
        lines = feature_lines(network, layout)
        levels = tuple(
            _level(prior, level.codes, features, targets)
            for prior, level, features, targets in zip(
                priors, network.levels, lines.features, lines.targets, strict=True
            )
        )
        return KernelPyramid(levels, lefts_of(depths.frequencies[None], depths.precision), lines.count, layout)


def _level(prior: TablePrior | NetworkPrior, codes: NDArray[np.int16], features: Whole, targets: Whole) -> KernelLevel:
    none = np.zeros((0, 0), np.float32)
    exponentials = EXP.astype(np.float32)
    if isinstance(prior, TablePrior):
        lefts, empty = lefts_of(prior.tables, prior.precision), np.zeros(0, np.float32)
        return KernelLevel(
            features, targets, codes.astype(np.float32), lefts, none, none, none, empty, empty, exponentials
        )
    scales = 2.0 ** -np.array([prior.shift1, prior.shift2], np.float32)
    return KernelLevel(
        features,
        targets,
        codes.astype(np.float32),
        np.zeros((0, 0), np.int64),
        prior.weight1.astype(np.float32),
        prior.bias1.astype(np.float32),
        prior.weight2.astype(np.float32),
        prior.bias2.astype(np.float32),
        scales,
        exponentials,
    )


def decode(pyramid: KernelPyramid, data: bytes, images: int) -> NDArray[np.uint16]:
    """`PyramidPrior.decode`."""
    coder, depths = decoding(data), np.zeros((1, images), np.int32)
    code_table(pyramid.depths, 0, depths[0], coder)
    tokens = np.full((pyramid.layout.tokens, images), ABSENT, np.uint16)
    _walk(pyramid, depths[0], tokens, coder)
    ended(coder)
    return np.ascontiguousarray(tokens.T)


def encode(pyramid: KernelPyramid, tokens: NDArray[np.integer], depths: NDArray[np.intp]) -> bytes:
    """`PyramidPrior.encode`, of tokens that are possible. UsageError if one cannot be coded."""
    coder, known = encoding(len(tokens) + tokens.size), depths.astype(np.int32)
    code_table(pyramid.depths, 0, known, coder)
    _walk(pyramid, known, np.ascontiguousarray(tokens.T.astype(np.uint16)), coder)
    if not coder.units[: int(coder.state[0])].all():
        raise UsageError("symbol of frequency 0 in its table cannot be coded")
    return stack(coder)


def _walk(pyramid: KernelPyramid, depths: Whole, tokens: NDArray[np.uint16], coder: Coder) -> None:
    """Code all tokens [T, images], level after level."""
    layout, latents = pyramid.layout, np.zeros((pyramid.lines, len(depths)), np.float32)
    for number, level in enumerate(pyramid.levels):
        members = np.flatnonzero(depths > number)
        if not len(members):
            continue
        part, first = layout.part(number), layout.numbers[number]
        everybody = len(members) == len(depths)
        own = latents if everybody else np.ascontiguousarray(latents[:, members])
        symbols = np.zeros((part.stop - part.start, len(members)), np.int32)
        if coder.known:
            symbols[:] = tokens[part, members].astype(np.int32) - first
        _walk_level(level, own, symbols, coder)
        if not coder.known:
            tokens[part, members] = (symbols + first).astype(np.uint16)
        if not everybody:
            latents[:, members] = own


@kernel
def _walk_level(level: KernelLevel, latents: Singles, symbols: Whole, coder: Coder) -> None:
    """Code the symbols [positions, images] of a level, and add their codes to latents."""
    positions, images = symbols.shape
    room, groups = _room(level), (len(level.bias2) + GROUP - 1) // GROUP
    for position in range(positions):
        for start in range(0, images, ROWS):
            many = min(ROWS, images - start)
            own = symbols[position, start : start + many]
            if len(level.lefts):
                code_table(level.lefts, position if len(level.lefts) > 1 else 0, own, coder)
            elif len(level.bias2) > 1:
                scores = _run(level, latents, position, start, many, room)
                sums = room.sums[: groups * many].reshape(groups, many)
                share(level.exponentials, scores, sums)
                _code_each(scores, sums, own, coder)
            for channel in range(level.targets.shape[1]):
                line = level.targets[position, channel]
                for at in range(many):
                    latents[line, start + at] += level.codes[own[at], channel]


class Room(NamedTuple):
    """Room for some images."""

    features: Singles
    hidden: Singles
    scores: Singles
    sums: Singles


@kernel
def _room(level: KernelLevel) -> Room:
    features, width = level.weight1.shape
    return Room(
        np.zeros(features * ROWS, np.float32),
        np.zeros(width * ROWS, np.float32),
        np.zeros(len(level.bias2) * ROWS, np.float32),
        np.zeros((len(level.bias2) // GROUP + 1) * ROWS, np.float32),
    )


@kernel
def _run(level: KernelLevel, latents: Singles, position: int, start: int, many: int, room: Room) -> Singles:
    """The scores [K, n] of the codes of a position, for some images."""
    count, width = level.weight1.shape
    codes = len(level.bias2)
    features = room.features[: count * many].reshape(count, many)
    hidden = room.hidden[: width * many].reshape(width, many)
    scores = room.scores[: codes * many].reshape(codes, many)
    for feature in range(count):
        line = level.features[position, feature]
        for at in range(many):
            features[feature, at] = latents[line, start + at]
    begin_with(hidden, level.bias1[position if len(level.bias1) > 1 else 0])
    add_products(level.weight1, features, hidden)
    scale = level.scales[0]
    for unit in range(width):
        for at in range(many):
            hidden[unit, at] = min(max(np.floor(hidden[unit, at] * scale), _ZERO), _MOST_HIDDEN)
    begin_with(scores, level.bias2)
    add_products(level.weight2, hidden, scores)
    scale = level.scales[1]
    for code in range(codes):
        for at in range(many):
            scores[code, at] = np.floor(scores[code, at] * scale)
    return scores


@kernel
def share(exponentials: Singles, scores: Singles, sums: Singles) -> None:
    """Turn scores [K, n] into units less one (`share_units`). sums : [K / GROUP, n], set to those of groups of codes"""
    codes, many = scores.shape
    best, first, total = scores[0].copy(), np.zeros(many, np.int32), np.zeros(many, np.float64)
    for code in range(1, codes):
        for at in range(many):
            best[at] = max(best[at], scores[code, at])
    for start in range(0, codes, _EXACT_CODES):
        some = np.zeros(many, np.float32)
        for code in range(start, min(start + _EXACT_CODES, codes)):
            for at in range(many):
                weight = exponentials[np.int32(min(best[at] - scores[code, at], _FARTHEST))]
                scores[code, at] = weight
                some[at] += weight
        for at in range(many):
            total[at] += some[at]
    units, few = np.float64(UNITS - codes), codes <= _FEW_CODES
    for at in range(many if few else 0):
        total[at] = units / total[at]
    sums[:] = 0
    for code in range(codes - 1, -1, -1):
        used = sums[code // GROUP]
        for at in range(many):
            weight = scores[code, at]
            first[at] = code if weight == _BEST else first[at]
            share = np.float32(np.floor(weight * total[at] + _NUDGE if few else weight * units / total[at]))
            scores[code, at] = share
            used[at] += share
    for at in range(many):  # whole numbers: floats above 2**24 would be on the way in another order
        rest = UNITS - codes
        for group in range(len(sums)):
            rest -= np.int32(sums[group, at])
        scores[first[at], at] = np.float32(np.int32(scores[first[at], at]) + rest)
        sums[first[at] // GROUP, at] = np.float32(np.int32(sums[first[at] // GROUP, at]) + rest)


@kernel
def _code_each(shares: Singles, sums: Singles, symbols: Whole, coder: Coder) -> None:
    """Code symbols [n], each with its own units less one [K, n]. sums : of groups of codes"""
    words, state, lefts, units, known = coder
    for at in range(len(symbols)):
        if known:
            group, left = symbols[at] // GROUP, np.int64(0)
            for before in range(group):
                left += np.int64(sums[before, at]) + GROUP
            for code in range(group * GROUP, symbols[at]):
                left += np.int64(shares[code, at]) + 1
            lefts[state[0]], units[state[0]] = left, np.int64(shares[symbols[at], at]) + 1
            state[0] += _ONE
            continue
        place, left, code = np.int64(state[0] & _PLACE), np.int64(0), 0
        own = np.int64(sums[0, at]) + GROUP  # that of the last group is too much, and reaches beyond all places
        while left + own <= place:
            left += own
            code += GROUP
            own = np.int64(sums[code // GROUP, at]) + GROUP
        own = np.int64(shares[code, at]) + 1
        while left + own <= place:
            left += own
            code += 1
            own = np.int64(shares[code, at]) + 1
        step(words, state, int(left), int(own))
        symbols[at] = code


@kernel
def code_table(lefts: Ints, row: int, symbols: Whole, coder: Coder) -> None:
    """Code symbols [n] with one table."""
    words, state, listed_lefts, listed_units, known = coder
    last = lefts.shape[1] - 1
    for at in range(len(symbols)):
        if known:
            left, right = lefts[row, symbols[at]], lefts[row, symbols[at] + 1]
            listed_lefts[state[0]], listed_units[state[0]] = left, right - left
            state[0] += _ONE
            continue
        place, low, high = np.int64(state[0] & _PLACE), 0, last
        while high - low > 1:
            middle = (low + high) >> 1
            if lefts[row, middle] <= place:
                low = middle
            else:
                high = middle
        step(words, state, lefts[row, low], lefts[row, low + 1] - lefts[row, low])
        symbols[at] = low
