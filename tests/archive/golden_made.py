"""How the files of tests/golden were made: formulas alone, no random numbers (tests/golden/README.md)."""

import hashlib
import json
from pathlib import Path

import numpy as np

from smalti.archive import ArchiveSpec, ArchiveWriter, open_archive
from smalti.archive.recovery import RecoverySpec
from smalti.integer import Clip, IntegerDecoder, IntegerNetwork, Layer, PixelTable
from smalti.residual import Corrections

IMAGES, GRID, CODES = 300, (2, 3), 40
TOKENS = (np.arange(IMAGES * 6) ** 2 % 101 % 37 + 2).reshape(IMAGES, *GRID)
LABELS = np.arange(IMAGES) * 7 % 11
NAMES = [f"{label:02}/{i}.png" for i, label in enumerate(LABELS)]
CLASS_NAMES = tuple("abcdefghijk")


def ramp(shape, modulus, low):
    """Integers from `low` to `low + modulus - 1`, in no simple order."""
    return (np.arange(np.prod(shape)) * 13 % modulus + low).reshape(shape)


def network(channels):
    """Every kind of layer and of activation, both signs of hidden values, shifts of 0 and more."""
    table = PixelTable(-100, (np.arange(256) ** 2 // 255).astype(np.uint8))

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


def corrections():
    """Every mode, in turn; symbols that are levels in each, mostly none."""
    modes = np.where(np.arange(IMAGES) % 4, 0, np.arange(IMAGES) // 4 % 20).astype(np.uint8)
    count = np.count_nonzero(modes)
    symbols = np.arange(count * 84) ** 2 % 251 % 9
    return Corrections(modes, np.where(symbols > 5, symbols, 0).astype(np.uint8).reshape(count, 7, 12, 1))


def write(path, made, decoder, labels=None, names=None, corrected=None):
    with ArchiveWriter(path, made, decoder, overwrite=True) as writer:
        writer.append(TOKENS, labels, names, corrected)
        writer.commit()


def plain(path):
    """Three channels, one block, no columns."""
    write(path, spec((8, 11, 3)), network(3))


def named(path):
    """Labels, class names and names; the last block is short."""
    write(path, spec((7, 12, 2), block_images=128, class_names=CLASS_NAMES), network(2), LABELS, NAMES)


def corrected(path):
    """Images with corrections of every mode, beside images without."""
    write(path, spec((7, 12, 1), block_images=100, max_mse=0.25), network(1), LABELS, corrected=corrections())


def recoverable(path):
    """Two recovery sections for every three blocks."""
    write(path, spec((8, 12, 1), block_images=64, recovery=RecoverySpec(2, 3)), network(1), LABELS)


FILES = {f"format-1-{make.__name__}.smalti": make for make in (plain, named, corrected, recoverable)}


def decoded(channels, height, width):
    """What the decoder makes of all tokens, by the reference implementation."""
    return IntegerDecoder(network(channels), np.float64).decode(TOKENS)[:, :height, :width]


def write_all(folder):
    """Make the files anew, with the SHA-256 of each and of its pixels. Never for a format that was released."""
    record = Path(folder) / "format-1.json"
    facts = json.loads(record.read_text())
    for name, make in FILES.items():
        path = Path(folder) / name
        make(path)
        with open_archive(path) as archive:
            pixels = hashlib.sha256(archive[:].tobytes()).hexdigest()
        facts[name] = {"file_sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "pixels_sha256": pixels}
    record.write_text(json.dumps(facts, indent=2) + "\n")
