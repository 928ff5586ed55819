"""Decode made-up tokens of all kinds on a GPU and on the processor, and compare the SHA-256 of all pixels.

    PYTHONPATH=src python acceptance/check_cuda.py [-o FILE] [--seconds 240]

It needs NumPy and PyTorch, and nothing else: it imports the arithmetic of the decoders alone. So it runs on a bare
machine. Networks and tokens come from formulas. Each case is decoded by the NumPy decoder, by PyTorch on the processor,
and by PyTorch on a GPU, there also with TF32 asked for and in other batches. Without a GPU it says so, and checks the
processor. Exit code 1 if two digests differ, or if a case would have begun after the allowed seconds.
"""

import argparse
import hashlib
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.decoders.layers.integer_network import Clip, IntegerNetwork, Layer, PixelTable
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pyramid.pyramid_decoder import PyramidDecoder
from smalti.decoders.pyramid.pyramid_network import Level, PyramidNetwork, Scale
from smalti.decoders.transform.fixed_bases import whole_bases
from smalti.decoders.transform.transform_model import TransformModel
from smalti.decoders.transform.transform_network import Mixing, TransformNetwork
from smalti.torch_decoders.grid import TorchIntegerDecoder
from smalti.torch_decoders.pixels import TorchPixelDecoder
from smalti.torch_decoders.pyramid import TorchPyramidDecoder
from smalti.torch_decoders.transform import TorchTransformDecoder

Numbers = NDArray[Any]
TorchDecode = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Case:
    """Tokens, [images, ...], and their decoders. on_device : makes a decoder for a device"""

    name: str
    tokens: Numbers
    by_numpy: Callable[[Numbers], Numbers]
    on_device: Callable[[str], TorchDecode]


def mixed(shape: tuple[int, ...], low: int, high: int, salt: int = 1) -> NDArray[np.int64]:
    """Integers from low to high in no simple order, the same on every machine."""
    numbers = (np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(salt * 7919)) * np.uint64(2654435761)
    numbers = ((numbers >> np.uint64(7)) ^ (numbers >> np.uint64(19))) % np.uint64(high - low + 1)
    return (numbers.astype(np.int64) + low).reshape(shape)


def layer(
    kind: str, inputs: int, outputs: int, side: int, stride: int, activation: Clip | PixelTable, shift: int
) -> Layer:
    """A layer with weights of all sizes, whose sums stay exact."""
    most = 3000 if kind == "tokens" else min(127, ((1 << 24) - 50_000) // (255 * inputs * side * side))
    weight = mixed((inputs, side, side, outputs), -most, most, inputs + outputs).astype(np.int16)
    bias = mixed((outputs,), -20_000, 40_000).astype(np.int32)
    padding = (side - stride) // 2
    shifts = np.full(outputs, shift, np.uint8)
    return Layer(kind, weight, bias, shifts, (stride, stride), (padding, padding), activation)  # type: ignore[arg-type]


def table(dtype: str) -> PixelTable:
    """Pixels of a range of sums."""
    return PixelTable(-2048, (np.arange(4096) ** 2 % (256 if dtype == "uint8" else 65_536)).astype(dtype))


def grid_case(dtype: str) -> Case:
    """One codebook on a grid of tokens."""
    network = IntegerNetwork(
        (
            layer("tokens", 128, 64, 4, 2, Clip(0, 255), 5),
            layer("conv", 64, 64, 3, 1, Clip(-128, 127), 9),
            layer("conv", 64, 64, 3, 1, Clip(0, 255), 9),
            layer("up", 64, 3, 4, 2, table(dtype), 7),
        )
    )
    tokens = mixed((700, 7, 7), 0, 127)
    return Case(
        f"grid {dtype}", tokens, IntegerDecoder(network).decode, lambda d: TorchIntegerDecoder(network, d).decode
    )


def pyramid_case(dtype: str) -> Case:
    """Levels of tokens of two scales."""
    levels = [(0, 64, 16)] * 3 + [(1, 128, 8)] * 2
    network = PyramidNetwork(
        scales=(
            Scale((4, 4), mixed((16, 4, 4, 32), -90, 90).astype(np.int16)),
            Scale((2, 2), mixed((8, 4, 4, 32), -90, 90, 2).astype(np.int16), (1, 1)),
        ),
        levels=tuple(
            Level(scale, 0, mixed((codes, size), -150, 150, number).astype(np.int16))
            for number, (scale, codes, size) in enumerate(levels)
        ),
        bias=mixed((32,), -2000, 2000).astype(np.int32),
        shift=np.full(32, 8, np.uint8),
        clip=Clip(-128, 127),
        layers=(
            layer("conv", 32, 48, 3, 1, Clip(0, 255), 8),
            layer("up", 48, 3, 4, 2, table(dtype), 7),
        ),
    )
    grid, tokens, first = (8, 8), [], 0
    for number, (scale, codes, _) in enumerate(levels):
        found = first + mixed((600, 4 if scale == 0 else 16), 0, codes - 1, number)
        found[mixed((600,), 0, 9) > 4 + number] = 65_535  # absent levels
        tokens.append(found)
        first += codes
    for number in range(1, len(levels)):
        tokens[number][tokens[number - 1][:, 0] == 65_535] = 65_535
    decoder = PyramidDecoder(network, grid)
    all_tokens = np.concatenate(tokens, axis=1).astype(np.uint16)
    return Case(f"pyramid {dtype}", all_tokens, decoder.decode, lambda d: TorchPyramidDecoder(network, grid, d).decode)


def transform_case(channels: int, cell: int, dtype: str, mixing: int, grid: tuple[int, int], images: int) -> Case:
    """Coefficients of a lapped transform, some as large as they can be."""
    cosines, lap = whole_bases(cell, 10)
    components = 40 * channels
    place = mixed((components,), 0, 0) + np.arange(components)
    mixer = None
    if mixing:
        m, a = components, mixing
        mixer = Mixing(
            mixed((m, a), -60, 60), mixed((a,), -3000, 9000), mixed((9, a, a), -90, 90, 2), mixed((a,), -9000, 90_000),
            mixed((a, m), -90, 90, 3), mixed((m,), -900, 900), (5, 9, 8),
        )  # fmt: skip
    top = 255 if dtype == "uint8" else 65_535
    colour = np.eye(channels, dtype=np.int64) * 900 + mixed((channels, channels), -200, 200)
    network = TransformNetwork(
        dtype, 4, mixed((channels,), 0, 16 * top), colour, cosines + mixed((channels, cell, cell), -40, 40),
        cosines + mixed((channels, cell, cell), -40, 40, 2), lap + mixed((cell, cell), -20, 20),
        place % channels * cell * cell + place // channels, mixed((components,), 1, top), mixer,
    )  # fmt: skip
    tokens = mixed((images, *grid, components), 0, 30) >> mixed((components,), 0, 4)
    tokens = np.where(mixed(tokens.shape, 0, 400, 5) == 0, mixed(tokens.shape, 0, 65_535, 6), tokens).astype(np.uint16)

    def by_numpy(some: Numbers) -> Numbers:
        model = TransformModel(network)
        return np.stack(model.decode(some.reshape(-1, components), np.array([grid] * len(some)), 1))

    name = f"transform {dtype}, {channels} channels, cells of {cell}, mixing {mixing}"
    return Case(name, tokens, by_numpy, lambda d: TorchTransformDecoder(network, d).decode)


def pixels_case(dtype: str, counts: tuple[int, ...], hides: bool) -> Case:
    """Levels of samples, some under an alpha of 0."""
    top = 255 if dtype == "uint8" else 65_535
    levels = tuple(np.arange(count) * (top // max(1, count - 1)) for count in counts)
    model, shape = PixelModel(levels, dtype, hides), (40, 33, 29)
    tokens = np.stack([mixed(shape, 0, count - 1, count) for count in counts], axis=3).astype(np.uint16)

    def by_numpy(some: Numbers) -> Numbers:
        return np.stack(model.decode(some.reshape(-1, len(counts)), np.array([shape[1:]] * len(some)), 1))

    name = f"pixels {dtype}, {len(counts)} channels"
    return Case(name, tokens, by_numpy, lambda d: TorchPixelDecoder(model, d).decode)


def cases() -> Iterator[Case]:
    """All cases."""
    for dtype in ("uint8", "uint16"):
        yield grid_case(dtype)
        yield pyramid_case(dtype)
    yield transform_case(1, 8, "uint8", 0, (6, 5), 60)
    yield transform_case(3, 8, "uint8", 24, (32, 24), 6)
    yield transform_case(3, 16, "uint8", 48, (1, 9), 20)
    yield transform_case(2, 16, "uint16", 16, (7, 1), 20)
    yield transform_case(4, 32, "uint8", 32, (5, 6), 3)
    yield transform_case(3, 32, "uint16", 24, (3, 3), 4)
    yield pixels_case("uint8", (12, 9, 14, 3), True)
    yield pixels_case("uint16", (400,), False)


def digest(pixels: Numbers) -> str:
    """SHA-256 of pixels, 16 bits little-endian."""
    return hashlib.sha256(np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("<"))).tobytes()).hexdigest()


@contextmanager
def reduced_precision() -> Iterator[None]:
    """The process asks for fast products, as a training may."""
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


def torch_digest(case: Case, device: str, batch: int) -> str:
    """The digest of what PyTorch decodes, in batches."""
    decode = case.on_device(device)
    tokens = torch.from_numpy(case.tokens.astype(np.int64))
    parts = [decode(part.to(device)).cpu().numpy() for part in tokens.split(batch)]
    return digest(np.concatenate(parts))


def ways(case: Case, gpus: list[str]) -> Iterator[tuple[str, Callable[[], str]]]:
    """Each way of decoding, by its name."""

    def fast(device: str) -> str:
        with reduced_precision(), torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            return torch_digest(case, device, len(case.tokens))

    yield "numpy", lambda: digest(case.by_numpy(case.tokens))
    yield "torch, processor", lambda: torch_digest(case, "cpu", len(case.tokens))
    for gpu in gpus:
        yield f"torch, {gpu}", lambda gpu=gpu: torch_digest(case, gpu, len(case.tokens))  # type: ignore[misc]
        yield f"torch, {gpu}, batches of 1", lambda gpu=gpu: torch_digest(case, gpu, 1)  # type: ignore[misc]
        yield f"torch, {gpu}, TF32 and bfloat16 asked for", lambda gpu=gpu: fast(gpu)  # type: ignore[misc]


def main() -> None:
    """Print a line for each way of each case; exit code 1 if two differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--seconds", type=float, default=240)
    arguments = parser.parse_args()
    started = time.monotonic()
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())][:1]
    devices = [torch.cuda.get_device_name(gpu) for gpu in gpus]
    print(f"GPU: {devices[0]}" if gpus else "no GPU here: the processor alone is checked", flush=True)
    found: dict[str, dict[str, str]] = {}
    skipped, same = [], True
    for case in cases():
        if time.monotonic() - started > arguments.seconds:
            skipped.append(case.name)
            continue
        digests = found[case.name] = {}
        for way, make in ways(case, gpus):
            begun = time.monotonic()
            digests[way] = make()
            print(f"{digests[way][:16]}  {time.monotonic() - begun:6.2f} s  {case.name}: {way}", flush=True)
        same &= len(set(digests.values())) == 1
    facts = {
        "passed": same and not skipped,
        "gpus": devices,
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__},
        "seconds": round(time.monotonic() - started, 1),
        "skipped": skipped,
        "digests": found,
    }
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print("all the same" if same else "DIGESTS DIFFER", "" if not skipped else f"not reached: {', '.join(skipped)}")
    sys.exit(not facts["passed"])


if __name__ == "__main__":
    main()
