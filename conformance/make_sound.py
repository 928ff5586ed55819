"""Make conformance/sound: small files that a reader reads. The files that it must refuse are made from them.

    python -m conformance.make_sound

They come from formulas, without random numbers. Smalti writes them; the page-only readers check their contents.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from smalti.archive.collection.collection_writer import write_collection
from smalti.archive.read.reader import open_archive
from smalti.archive.write.sized_writer import SizedArchiveWriter, SizedSpec
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.writer import ArchiveWriter
from smalti.decoders.layers.integer_network import Clip, IntegerNetwork, Layer, PixelTable
from smalti.decoders.pixels.mixture_network import MixtureChannel, MixtureNetwork, mixture_inputs, own_inputs
from smalti.decoders.pixels.mixture_prior import MixturePrior
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.pixel_network import ChannelNetwork, PixelNetwork, candidates_of
from smalti.decoders.pixels.pixel_prior import PixelPrior
from smalti.decoders.pixels.wavefront import context_size
from smalti.decoders.pyramid.pyramid_network import Level, PyramidNetwork, Scale
from smalti.decoders.pyramid.pyramid_prior import PyramidPrior
from smalti.decoders.transform.fixed_bases import whole_bases
from smalti.decoders.transform.prior_network import FirstNetwork, PriorNetwork
from smalti.decoders.transform.tokens import unsigned
from smalti.decoders.transform.transform_model import TransformModel
from smalti.decoders.transform.transform_network import Mixing, TransformNetwork
from smalti.decoders.transform.transform_prior import TransformPrior
from smalti.entropy.frequency import FrequencyTable
from smalti.entropy.priors import NetworkPrior, TablePrior
from smalti.residual.residuals import Residuals

SOUND = Path(__file__).parent / "sound"
IMAGES, GRID, CODES = 8, (2, 3), 8
SPEC = ArchiveSpec((3, 5, 1), GRID, CODES, "sound", block_images=3, provenance=(("smalti", "conformance"),))
TOKENS = (np.arange(IMAGES * 6) ** 2 % 7 % 6 + 1).reshape(IMAGES, *GRID)
LABELS = np.arange(IMAGES) % 3 - 1
NAMES = [f"{number}/{'aä日'[number % 3]}.png" for number in range(IMAGES)]
CLASS_NAMES = ("x", "y", "ζ")


def ramp(shape: tuple[int, ...], modulus: int, low: int) -> np.ndarray:
    """Integers from `low` to `low + modulus - 1`, in no simple order."""
    return (np.arange(np.prod(shape)) * 13 % modulus + low).reshape(shape)


def numbers(shape: tuple[int, ...], modulus: int, low: int) -> np.ndarray:
    """The same as int16, the dtype of weights."""
    return ramp(shape, modulus, low).astype(np.int16)


def layer(
    kind: str, inputs: int, kernel: tuple[int, int], stride: tuple[int, int], activation: Clip | PixelTable
) -> Layer:
    """A layer of two outputs, or of the one channel of pixels."""
    outputs = 1 if isinstance(activation, PixelTable) else 2
    weight = ramp((inputs, *kernel, outputs), 201 if kind == "tokens" else 33, -100 if kind == "tokens" else -16)
    bias, shift = ramp((outputs,), 41, 60).astype(np.int32), np.full(outputs, 2, np.uint8)
    padding = tuple((one - step) // 2 for one, step in zip(kernel, stride, strict=True))
    return Layer(kind, weight.astype(np.int16), bias, shift, stride, padding, activation)


def pixel_table(dtype: type = np.uint8) -> PixelTable:
    """Pixels of 8 bits, or of 16."""
    values = np.arange(64) * 4 if dtype == np.uint8 else np.arange(64) ** 2 * 16
    return PixelTable(-16, values.astype(dtype))


def network(dtype: type = np.uint8) -> IntegerNetwork:
    """Two by two pixels for each token, then a convolution."""
    return IntegerNetwork(
        (
            layer("tokens", CODES, (2, 2), (2, 2), Clip(0, 255)),
            layer("conv", 2, (3, 3), (1, 1), pixel_table(dtype)),
        )
    )


def corrections(images: int, dtype: type = np.uint8) -> Residuals:
    """Residuals of images: some without, one stored, others corrected."""
    some = np.array([0, 1, 0, 5, 0, 7, 0, 4, 0, 12], np.uint8)
    modes = np.where(np.arange(images) < len(some), np.resize(some, images), 0).astype(np.uint8)
    count = np.count_nonzero(modes)
    symbols = np.arange(count * 15) ** 2 % 11
    return Residuals(modes, np.where(symbols > 6, symbols, 0).astype(dtype).reshape(count, 3, 5, 1))


def write(path: Path, spec: ArchiveSpec) -> None:
    """An archive of TOKENS."""
    with ArchiveWriter(path, spec, network(), overwrite=True) as writer:
        writer.append(TOKENS, LABELS, NAMES)
        writer.commit()


def write_corrected(path: Path, dtype: type) -> None:
    """Residuals for so many images that the decoder pays: a writer omits one that does not."""
    images = 30 * IMAGES
    spec = replace(SPEC, block_images=100, max_mse=0.25, dtype=np.dtype(dtype).name)
    with ArchiveWriter(path, spec, network(dtype), overwrite=True) as writer:
        writer.append(np.tile(TOKENS, (30, 1, 1)), None, None, corrections(images, dtype))
        writer.commit()


def grid(path: Path) -> None:
    """Labels, names of classes and of images; three blocks, the last one short."""
    write(path, replace(SPEC, class_names=CLASS_NAMES))


def corrected(path: Path) -> None:
    """Corrections of 8 bits."""
    write_corrected(path, np.uint8)


def wide(path: Path) -> None:
    """Pixels and corrections of 16 bits."""
    write_corrected(path, np.uint16)


def pyramid(path: Path) -> None:
    """Two levels of two scales, one with tables and one with a network."""
    decoder = PyramidNetwork(
        scales=(Scale((2, 2), numbers((1, 2, 2, 2), 29, -14)), Scale((1, 1), numbers((1, 1, 1, 2), 9, 2))),
        levels=(Level(0, 0, numbers((4, 1), 41, -20)), Level(1, 0, numbers((3, 1), 23, -9))),
        bias=np.array([5, -7], np.int32),
        shift=np.array([1, 2], np.uint8),
        clip=Clip(-128, 127),
        layers=(layer("conv", 2, (3, 3), (1, 1), pixel_table()),),
    )
    tables = TablePrior(np.stack([FrequencyTable.from_counts(np.arange(1, 5), 8).frequencies]), 8)
    scores = NetworkPrior(
        weight1=ramp((50, 3), 15, -7).astype(np.int16),
        bias1=ramp((1, 3), 300, -50).astype(np.int32),
        shift1=3,
        weight2=ramp((3, 3), 25, -12).astype(np.int16),
        bias2=ramp((3,), 300, -100).astype(np.int32),
        shift2=3,
    )
    prior = PyramidPrior(decoder, (2, 4), FrequencyTable.from_counts(np.array([1, 2, 5]), 6), (tables, scores))
    tokens = np.concatenate(
        [np.arange(IMAGES * 2).reshape(IMAGES, 2) % 4, 4 + np.arange(IMAGES * 8).reshape(IMAGES, 8) ** 2 % 3], axis=1
    ).astype(np.uint16)
    tokens[0], tokens[1, 2:] = 65535, 65535
    spec = replace(SPEC, image_shape=(2, 3, 1), token_grid=(1, 10), codebook_size=7)
    with ArchiveWriter(path, spec, decoder, overwrite=True, prior=prior) as writer:
        writer.append(tokens[:, None], LABELS)
        writer.commit()


def collection(path: Path) -> None:
    """Two members that share a model, one with fewer of its codes, and two that share a model and a prior."""
    with TemporaryDirectory(dir=path.parent) as folder:
        parts = [Path(folder) / f"{number}.smalti" for number in range(4)]
        write(parts[0], SPEC)
        with ArchiveWriter(parts[1], replace(SPEC, image_shape=(4, 6, 1)), network()) as writer:
            writer.append(TOKENS[:2] % 4, LABELS[:2])
            writer.commit()
        pyramid(parts[2])
        pyramid(parts[3])
        write_collection(path, [partial(open_archive, part) for part in parts], overwrite=True)


def transform(path: Path) -> None:
    """Images of any sizes: two components, mixing, a certain coefficient, a far difference; two blocks."""
    cosines, lap = whole_bases(8, 10)
    mixing = Mixing(
        ramp((2, 2), 41, -20), ramp((2,), 31, 3), ramp((9, 2, 2), 9, -4), ramp((2,), 41, 20), ramp((2, 2), 17, -8),
        ramp((2,), 31, -15), (2, 3, 3),
    )  # fmt: skip
    network = TransformNetwork(
        "uint8", 2, np.array([500]), np.array([[1024]]), cosines[None], cosines[None] + ramp((1, 8, 8), 5, -2),
        lap, np.array([0, 1]), np.array([200, 90]), mixing,
    )  # fmt: skip
    first = FirstNetwork(
        ramp((7, 9, 1), 7, -3), np.full((7, 1), 90), np.ones((7, 1), np.int64), ramp((7,), 9, 0),
        np.full((7, 1), -1), np.zeros(7, np.int64), ramp((7, 9), 5, -2),
    )  # fmt: skip
    numbers = PriorNetwork(
        groups=(1, 1), limits=np.array([200, 7]), activity=ramp((2, 1), 5, 1), activity_bias=ramp((2, 1), 9, 0),
        context=ramp((2, 27, 2), 7, -3), context_bias=ramp((2, 2, 2), 99, -20), places=ramp((2, 2), 50, -20),
        grid=(1, 2), hidden=ramp((2, 2), 9, -3), hidden_bias=ramp((2,), 60, 0), scale_weight=ramp((2, 2), 5, 0),
        scale_bias=ramp((2,), 9, 0), mean_weight=ramp((2, 2), 5, -2), mean_bias=ramp((2,), 9, -4),
        linear=ramp((2, 18, 2), 5, -2), first=first, shifts=(2, 2, 2, 6, 3, 2, 2, 5, 2, 2),
    )  # fmt: skip
    counts = ramp((6, 8), 9, 1)
    tables = np.stack([FrequencyTable.from_counts(row, 8).frequencies for row in counts])
    prior, grids = TransformPrior(numbers, TablePrior(tables, 8)), np.array([(1, 2), (2, 2), (3, 1), (1, 1)])
    walk = prior.walk(grids)
    for step in walk.steps():
        coding = walk.coding(step)
        moved = ramp(coding.tables.shape, 7, -3) + (coding.tables > 3) * 90
        walk.set(step, coding.centres + np.where(coding.tables < 0, 0, moved))
    tokens = unsigned(walk.coefficients)
    spec = SizedSpec("sound", block_cells=6, region=2, provenance=(("smalti", "conformance"),))
    with SizedArchiveWriter(path, spec, TransformModel(network), prior, overwrite=True) as writer:
        writer.append(tokens, np.array([(7, 12), (16, 9), (20, 3), (1, 8)]), np.arange(4))
        writer.commit()


def pixel_prior(model: PixelModel, radius: int, width: int, depth: int) -> PixelPrior:
    """A prior whose numbers are ramps."""
    networks = []
    for number, channel in enumerate(model.order):
        outputs = len(model.levels[channel]) + 5 * candidates_of(number)
        networks.append(
            ChannelNetwork(
                ramp((4 * number, width), 23, -11), ramp((width,), 901, -300), ramp((depth, width, width), 41, -19),
                ramp((depth, width), 77, -9), ramp((width, outputs), 51, -25), ramp((outputs,), 301, -99),
                (5, *[4] * depth, 4),
            )
        )  # fmt: skip
    context = ramp((context_size(radius) * model.channels, width), 19, -9)
    tops, lefts, rights = (ramp((length, width), 307, -150) for length in (2, 3, 1))
    return PixelPrior(PixelNetwork(radius, context, tops, lefts, rights, tuple(networks)), model)


def mixture_prior(model: PixelModel, radius: int, width: int, depth: int, components: int) -> MixturePrior:
    """A prior of mixtures whose numbers are ramps."""
    channels, outputs = model.channels, 3 * components + 1
    networks = [
        MixtureChannel(
            ramp((context_size(radius) * channels + number,), 41, -19), 6, ramp((own_inputs(number), width), 23, -11),
            ramp((width,), 901, -300), ramp((depth, width, width), 41, -19), ramp((depth, width), 77, -9),
            ramp((width, outputs), 51, -25), ramp((outputs,), 901, -99), (5, *[4] * depth, 4),
        )
        for number in range(channels)
    ]  # fmt: skip
    context = ramp((mixture_inputs(radius, channels), width), 19, -9)
    tops, lefts, rights = (ramp((length, width), 307, -150) for length in (2, 3, 1))
    levels = [len(model.levels[channel]) for channel in model.order]
    return MixturePrior(MixtureNetwork(radius, levels, context, tops, lefts, rights, tuple(networks)), model)


def write_pixels(path: Path, prior: PixelPrior | MixturePrior, sizes: np.ndarray, tokens: np.ndarray) -> None:
    """Images whose blocks have at most 30 pixels: some are cut into regions of 5 x 5."""
    spec = SizedSpec("sound", block_cells=30, region=5, provenance=(("smalti", "conformance"),))
    with SizedArchiveWriter(path, spec, prior.model, prior, overwrite=True) as writer:
        writer.append(tokens.astype(np.uint16), sizes, np.arange(len(sizes)))
        writer.commit()


def pixels(path: Path) -> None:
    """Colours that alpha hides, a channel of one level, a middle layer, several units in a block, and regions."""
    levels = (np.array([0, 90, 255]), np.array([7]), np.array([1, 2, 60, 201]), np.array([0, 255]))
    prior, sizes = pixel_prior(PixelModel(levels, "uint8", True), 2, 3, 1), np.array([(5, 7), (1, 1), (9, 4), (3, 6)])
    tokens = np.arange(int(sizes.prod(axis=1).sum()))[:, None] ** 2 // 3 % np.array([3, 1, 4, 2])
    tokens[tokens[:, 3] == 0] = 0
    write_pixels(path, prior, sizes, tokens)


def wide_pixels(path: Path) -> None:
    """Samples of 16 bits of one channel, without a middle layer."""
    prior = pixel_prior(PixelModel((np.arange(20) ** 2 * 181,), "uint16", False), 1, 4, 0)
    write_pixels(path, prior, np.array([(4, 7)] * 3), np.arange(84)[:, None] ** 2 // 7 % 20)


def mixtures(path: Path) -> None:
    """Mixtures for colours of 16 bits that alpha hides: one channel of two symbols, one of one level; regions."""
    levels = (np.arange(300) * 200, np.array([7]), np.array([1, 2, 60, 201]), np.array([0, 65535]))
    prior, sizes = mixture_prior(PixelModel(levels, "uint16", True), 2, 3, 1, 3), np.array([(5, 7), (1, 1), (9, 4)])
    tokens = np.arange(int(sizes.prod(axis=1).sum()))[:, None] ** 2 // 3 % np.array([300, 1, 4, 2])
    tokens[tokens[:, 3] == 0] = 0
    write_pixels(path, prior, sizes, tokens)


def copies(path: Path) -> None:
    """Eleven images of which five are stored: copies beside their image and far from it, one of an image in regions."""
    prior = pixel_prior(PixelModel((np.array([0, 30, 31, 200, 255]),), "uint8", False), 1, 3, 0)
    sizes, order = np.array([(8, 9), (10, 8), (8, 9), (7, 10), (1, 3)]), [0, 0, 1, 2, 0, 3, 3, 3, 4, 1, 2]
    tokens = np.split(np.arange(int(sizes.prod(axis=1).sum()))[:, None] ** 2 // 11 % 5, np.cumsum(sizes.prod(1))[:-1])
    spec = SizedSpec("sound", block_cells=75, region=8, provenance=(("smalti", "conformance"),))
    with SizedArchiveWriter(path, spec, prior.model, prior, overwrite=True) as writer:
        for number, image in enumerate(order):
            writer.append(tokens[image].astype(np.uint16), sizes[[image]], np.array([number]))
        writer.commit()


MAKERS = (grid, corrected, wide, pyramid, collection, transform, pixels, wide_pixels, mixtures, copies)


def main() -> None:
    """Write them all."""
    SOUND.mkdir(exist_ok=True)
    for make in MAKERS:
        make(SOUND / f"{make.__name__}.smalti")


if __name__ == "__main__":
    main()
