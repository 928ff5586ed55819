"""The makers of the files in conformance/golden: by formulas, or by seeded numbers (conformance/README.md)."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from helpers.tiny_mixtures import random_mixture
from helpers.tiny_pixels import write_pixels
from helpers.transform_archives import write_transform
from smalti.archive.collection.collection_writer import write_collection
from smalti.archive.read.reader import open_archive
from smalti.archive.recovery.parity import RecoverySpec
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.writer import ArchiveWriter
from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.decoders.layers.integer_network import Clip, IntegerNetwork, Layer, PixelTable
from smalti.decoders.pyramid.pyramid_network import ABSENT, Level, PyramidNetwork, Scale, TokenLayout
from smalti.decoders.pyramid.pyramid_prior import PyramidPrior
from smalti.entropy.frequency import FrequencyTable
from smalti.entropy.priors import NetworkPrior, TablePrior
from smalti.residual.residuals import Residuals

IMAGES, GRID, CODES = 300, (2, 3), 40
TOKENS = (np.arange(IMAGES * 6) ** 2 % 101 % 37 + 2).reshape(IMAGES, *GRID)
LABELS = np.arange(IMAGES) * 7 % 11
NAMES = [f"{label:02}/{i}.png" for i, label in enumerate(LABELS)]
CLASS_NAMES = tuple("abcdefghijk")


def ramp(shape, modulus, low):
    """Return integers from `low` to `low + modulus - 1`, in no simple order."""
    return (np.arange(np.prod(shape)) * 13 % modulus + low).reshape(shape)


def pixel_table(dtype):
    """Return a table of 8-bit or 16-bit pixels."""
    squares = np.arange(256) ** 2
    return PixelTable(
        -100, squares.astype(dtype) + dtype(300) if dtype == np.uint16 else (squares // 255).astype(dtype)
    )


def network(channels, dtype=np.uint8):
    """Return a network with every kind of layer and activation, both signs of hidden values, shifts of 0 and more."""
    table = pixel_table(dtype)

    def layer(kind, inputs, kernel, outputs, stride, padding, activation, weights=(33, -16), shift=3):
        weight = ramp((inputs, *kernel, outputs), *weights).astype(np.int16)
        bias, shifts = ramp((outputs,), 41, -9).astype(np.int32), np.full(outputs, shift, np.uint8)
        return Layer(kind, weight, bias, shifts, stride, padding, activation)

    return IntegerNetwork(
        (
            layer("tokens", CODES, (4, 4), 4, (2, 2), (1, 1), Clip(0, 255), (1201, -600), 1),
            layer("conv", 4, (3, 3), 4, (1, 1), (1, 1), Clip(-128, 127)),
            layer("up", 4, (4, 4), channels, (2, 2), (1, 1), table, shift=4),
        )
    )


def spec(shape, **fields):
    return ArchiveSpec(shape, GRID, CODES, "golden", provenance=(("smalti", "golden"),), **fields)


def corrections(shape=(7, 12, 1)):
    """Return residuals with every mode in turn; symbols are valid in each mode, and mostly 0."""
    modes = np.where(np.arange(IMAGES) % 4, 0, np.arange(IMAGES) // 4 % 20).astype(np.uint8)
    count = np.count_nonzero(modes)
    symbols = np.arange(count * int(np.prod(shape))) ** 2 % 251 % 9
    return Residuals(modes, np.where(symbols > 5, symbols, 0).astype(np.uint8).reshape(count, *shape))


def wide_corrections(shape=(7, 12, 1)):
    """Return residuals for 16 bits, with every mode, and symbols of all classes, mostly 0."""
    modes = np.where(np.arange(IMAGES) % 4, 0, np.arange(IMAGES) // 4 % 21).astype(np.uint8)
    count = np.count_nonzero(modes)
    numbers = np.arange(count * int(np.prod(shape)))
    symbols = (numbers**2 % 65_521) >> (numbers % 17)
    return Residuals(modes, np.where(numbers % 5, 0, symbols).astype(np.uint16).reshape(count, *shape))


def write(path, made, decoder, labels=None, names=None, corrected=None):
    with ArchiveWriter(path, made, decoder, overwrite=True) as writer:
        writer.append(TOKENS, labels, names, corrected)
        writer.commit()


def plain(path):
    """Write an archive of three channels, with one block and no columns."""
    write(path, spec((8, 11, 3)), network(3))


def named(path):
    """Write an archive with labels, class names and names; the last block is short."""
    write(path, spec((7, 12, 2), block_images=128, class_names=CLASS_NAMES), network(2), LABELS, NAMES)


def corrected(path):
    """Write an archive with residuals of every mode, and images without residuals."""
    write(path, spec((7, 12, 1), block_images=100, max_mse=0.25), network(1), LABELS, corrected=corrections())


def recoverable(path):
    """Write an archive with two recovery sections for every three blocks."""
    write(path, spec((8, 12, 1), block_images=64, recovery=RecoverySpec(2, 3)), network(1), LABELS)


CANVAS = (4, 4)


def pyramid_network(dtype=np.uint8):
    """Return a network of two scales, with levels on equal and other channels, kernels with and without padding."""

    def layer(kind, inputs, kernel, outputs, stride, activation, shift):
        weight = ramp((inputs, *kernel, outputs), 33, -16).astype(np.int16)
        bias, shifts = ramp((outputs,), 41, -9).astype(np.int32), np.full(outputs, shift, np.uint8)
        return Layer(kind, weight, bias, shifts, stride, (1, 1), activation)

    return PyramidNetwork(
        scales=(
            Scale((4, 4), ramp((4, 4, 4, 5), 29, -14).astype(np.int16)),
            Scale((2, 1), ramp((3, 4, 3, 5), 31, -15).astype(np.int16), (1, 1)),
        ),
        levels=(
            Level(0, 0, ramp((9, 4), 61, -30).astype(np.int16)),
            Level(0, 2, ramp((5, 2), 37, -18).astype(np.int16)),
            Level(1, 0, ramp((6, 2), 47, -23).astype(np.int16)),
            Level(1, 1, ramp((3, 2), 23, -11).astype(np.int16)),
            Level(1, 2, ramp((1, 1), 23, 7).astype(np.int16)),
        ),
        bias=ramp((5,), 90, -40).astype(np.int32),
        shift=np.array([3, 3, 4, 4, 5], np.uint8),
        clip=Clip(-128, 127),
        layers=(
            layer("conv", 5, (3, 3), 4, (1, 1), Clip(0, 255), 6),
            layer("up", 4, (4, 4), 1, (2, 2), pixel_table(dtype), 5),
        ),
    )


def pyramid_prior(dtype=np.uint8):
    """Return priors by tables and by networks, for all positions and for each, and one for a single code."""

    def tables(rows, codes):
        counts = ramp((rows, codes), 19, 1)
        return TablePrior(np.stack([FrequencyTable.from_counts(row, 10).frequencies for row in counts]), 10)

    def net(features, rows, hidden, codes):
        return NetworkPrior(
            weight1=ramp((features, hidden), 15, -7).astype(np.int16),
            bias1=ramp((rows, hidden), 3000, -500).astype(np.int32),
            shift1=4,
            weight2=ramp((hidden, codes), 25, -12).astype(np.int16),
            bias2=ramp((codes,), 300, -100).astype(np.int32),
            shift2=3,
        )

    levels = (tables(1, 9), net(4, 1, 6, 5), net(151, 8, 5, 6), tables(8, 3), net(151, 1, 1, 1))
    return PyramidPrior(pyramid_network(dtype), CANVAS, FrequencyTable.from_counts(np.arange(1, 7), 8), levels)


def pyramid_tokens():
    """Return tokens with every depth and every code, [IMAGES, 1, T]."""
    layout = TokenLayout(pyramid_network(), CANVAS)
    columns = np.arange(IMAGES * layout.tokens).reshape(IMAGES, -1) ** 2 % 1009
    tokens = np.full((IMAGES, layout.tokens), ABSENT, np.uint16)
    for level in range(layout.levels):
        part, first, past = layout.part(level), layout.numbers[level], layout.numbers[level + 1]
        deep = np.arange(IMAGES)[:, None] ** 2 % 11 > level
        tokens[:, part] = np.where(deep, first + columns[:, part] % (past - first), ABSENT)
    return tokens[:, None]


def pyramid(path, dtype=np.uint8):
    """Write an archive with levels of tokens, and residuals of every mode."""
    prior, tokens, shape = pyramid_prior(dtype), pyramid_tokens(), (7, 8, 1)
    made = ArchiveSpec(
        shape,
        (1, tokens.shape[2]),
        prior.network.codes,
        "golden",
        128,
        max_mse=0.25,
        provenance=(("smalti", "golden"),),
        dtype=np.dtype(dtype).name,
    )
    chosen = corrections(shape) if dtype == np.uint8 else wide_corrections(shape)
    with ArchiveWriter(path, made, prior.network, overwrite=True, prior=prior) as writer:
        writer.append(tokens, LABELS, residuals=chosen)
        writer.commit()


def uint16(path):
    """Write an archive of 16-bit pixels, with residuals of every mode."""
    made = spec((7, 12, 1), block_images=100, max_mse=0.25, dtype="uint16")
    write(path, made, network(1, np.uint16), LABELS, corrected=wide_corrections())


def int16(path):
    """Write an archive of signed pixels, with residuals of every mode."""
    made = spec((7, 12, 1), block_images=100, max_mse=0.25, dtype="int16")
    write(path, made, network(1, np.uint16), LABELS, corrected=wide_corrections())


def uint16_pyramid(path):
    """Write an archive of 16-bit pixels with levels of tokens."""
    pyramid(path, np.uint16)


def few(path):
    """Write some images of `named` in another shape: with the same network, and fewer of its codes."""
    with ArchiveWriter(path, replace(spec((5, 9, 2)), block_images=16), network(2)) as writer:
        writer.append(TOKENS[5:8], LABELS[5:8])
        writer.commit()


def collection(path, folder):
    """Write a collection with members (made in `folder`) that share a model, a model and a prior, or nothing."""
    makers = (named, few, pyramid, uint16, pyramid)
    parts = [Path(folder) / f"part-{number}.smalti" for number in range(len(makers))]
    for make, part in zip(makers, parts, strict=True):
        make(part)
    write_collection(path, [partial(open_archive, part) for part in parts], overwrite=True)


MAKERS = (plain, named, corrected, recoverable, pyramid, uint16, int16, uint16_pyramid)
FILES = {f"format-1-{make.__name__}.smalti": make for make in MAKERS}


def tokens_of(name):
    """Return the tokens of a golden file."""
    return pyramid_tokens() if "pyramid" in name else TOKENS


def decoded(channels, height, width, dtype=np.uint8):
    """Decode all tokens, by the reference implementation."""
    return IntegerDecoder(network(channels, dtype), np.float64).decode(TOKENS)[:, :height, :width]


def write_all(folder, names=tuple(FILES)):
    """Write the files anew; never for a released format. `make_expected` records their content."""
    for name in names:
        FILES[name](Path(folder) / name)


PICTURES = [(40, 56), (1, 1), (33, 70), (64, 24), (8, 8), (17, 90), (23, 5)]


def transform(path):
    """Write an archive of RGB images of several sizes, one cut into regions, with names and labels."""
    names = [f"{number}.png" for number in range(len(PICTURES))]
    return write_transform(path, PICTURES, np.arange(len(PICTURES)) % 3, names, seed=1)


def transform_alpha(path):
    """Write an archive of RGBA images, with numbers for the places of one grid."""
    return write_transform(path, [(16, 24), (24, 16), (9, 17)], seed=2, channels=4, grid=(2, 3), block_cells=64)


def transform_uint16(path):
    """Write an archive of 16-bit images of one size."""
    return write_transform(path, [(20, 30)] * 5, np.arange(5), seed=3, channels=1, dtype="uint16", grid=(3, 4))


TRANSFORMS = {
    f"format-1-{make.__name__.replace('_', '-')}.smalti": make
    for make in (transform, transform_alpha, transform_uint16)
}


def pixels(path):
    """Write an archive of grey images of several sizes, two cut into regions, with names and labels."""
    names = [f"{number}.png" for number in range(len(PICTURES))]
    prior = {"counts": (9,), "radius": 3, "width": 7, "depth": 2, "edges": (4, 1, 90)}
    labels = np.arange(len(PICTURES)) % 3
    return write_pixels(path, PICTURES, labels, names, seed=4, prior=prior, block_cells=2000, region=44)


def pixels_alpha(path):
    """Write an archive of RGBA images. Some colours are hidden, and one channel has one level."""
    prior = {"counts": (5, 1, 7, 3), "radius": 2, "width": 9, "depth": 1, "hides": True}
    return write_pixels(path, [(16, 24), (1, 30), (9, 17), (12, 1)], seed=5, prior=prior)


def pixels_uint16(path):
    """Write an archive of 16-bit images of one size, with many levels and no middle layer."""
    prior = {"counts": (300,), "radius": 1, "width": 4, "depth": 0, "dtype": "uint16"}
    return write_pixels(path, [(13, 21)] * 5, np.arange(5), seed=6, prior=prior)


def pixels_many(path):
    """Write an archive of so many small RGB images that waves are cut into pieces."""
    sizes = np.array([(1, 1), (1, 2), (2, 1)])[np.arange(2500) % 7 % 3]
    prior = {"counts": (4, 3, 5), "radius": 8, "width": 5, "depth": 1, "edges": (1, 2, 2)}
    return write_pixels(path, sizes, seed=7, prior=prior, block_cells=4096)


def pixels_copies(path):
    """Write an archive of colour images with copies: beside their image, far from it, and of one cut into regions."""
    order = [0, 0, 1, 2, 3, 2, 2, 4, 5, 6, 0, 0, 6, 3, 1, 1, 5, 2]
    names = [f"{number}.png" for number in range(len(order))]
    prior = {"counts": (5, 3, 4), "radius": 2, "width": 5, "depth": 1}
    labels = np.arange(len(order)) % 5
    return write_pixels(path, PICTURES, labels, names, seed=8, prior=prior, order=order, block_cells=2000, region=44)


PIXELS = {
    f"format-1-{make.__name__.replace('_', '-')}.smalti": make
    for make in (pixels, pixels_alpha, pixels_uint16, pixels_many, pixels_copies)
}


def mixtures(path):
    """Write an archive of RGB images of several sizes, one cut into regions, with names and labels."""
    sizes = [(40, 56), (1, 1), (17, 30), (8, 8)]
    names = [f"{number}.png" for number in range(len(sizes))]
    prior = {"counts": (256, 60, 17), "radius": 2, "width": 8, "depth": 2, "edges": (4, 1, 90)}
    made = {"make": random_mixture, "block_cells": 2000, "region": 44}
    return write_pixels(path, sizes, np.arange(len(sizes)) % 3, names, seed=8, prior=prior, **made)


def mixtures_alpha(path):
    """Write an archive of RGBA images. Some colours are hidden, and one channel has one level; three components."""
    prior = {"counts": (200, 1, 7, 5), "radius": 3, "width": 9, "depth": 1, "components": 3, "hides": True}
    return write_pixels(path, [(16, 24), (1, 30), (9, 17), (12, 1)], seed=9, prior=prior, make=random_mixture)


def mixtures_uint16(path):
    """Write an archive of 16-bit images of one size, of two symbols for each sample, and no middle layer."""
    prior = {"counts": (3000,), "radius": 1, "width": 4, "depth": 0, "components": 4, "dtype": "uint16"}
    return write_pixels(path, [(13, 21)] * 5, np.arange(5), seed=10, prior=prior, make=random_mixture)


def mixtures_int16(path):
    """Write an archive of signed images, of two channels, some of them copies."""
    prior = {"counts": (900, 5), "radius": 1, "width": 4, "depth": 1, "dtype": "uint16"}
    made = {"make": random_mixture, "order": [0, 1, 0, 2], "signed": True, "block_cells": 200, "region": 14}
    return write_pixels(path, [(13, 21), (4, 4), (9, 30)], seed=12, prior=prior, **made)


def mixtures_many(path):
    """Write an archive of so many small 16-bit images that waves are cut into pieces; grey has two symbols."""
    sizes = np.array([(1, 1), (1, 2), (2, 1)])[np.arange(2500) % 7 % 3]
    prior = {"counts": (300, 3), "radius": 2, "width": 5, "components": 2, "dtype": "uint16", "hides": True}
    return write_pixels(path, sizes, seed=11, prior=prior, make=random_mixture, block_cells=4096)


MIXTURES = {
    f"format-1-{make.__name__.replace('_', '-')}.smalti": make
    for make in (mixtures, mixtures_alpha, mixtures_uint16, mixtures_int16, mixtures_many)
}
SIZED = TRANSFORMS | PIXELS | MIXTURES
