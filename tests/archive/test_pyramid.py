"""Archives with a pyramid decoder: the features of all archives, and those of pyramids alone."""

from types import SimpleNamespace

import numpy as np
import pytest

from helpers.damaged_files import WARNINGS_ARE_ERRORS, flip, outcome, read_all, rebuild, replace, sections, told_outcome
from helpers.made_up_archives import random_network
from helpers.networks import random_prior, random_pyramid, random_table_prior, random_tokens
from smalti.archive.format.layout import FRAME_BYTES
from smalti.archive.format.limits import Limits
from smalti.archive.read.reader import open_archive
from smalti.archive.recovery.parity import RecoverySpec
from smalti.archive.recovery.repair import repair_archive
from smalti.archive.report import LevelInfo
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.writer import ArchiveWriter
from smalti.decoders.layers.integer_network import Clip, Layer, PixelTable
from smalti.decoders.pyramid.pyramid_decoder import PyramidDecoder
from smalti.decoders.pyramid.pyramid_network import ABSENT, Level, PyramidNetwork, Scale, TokenLayout
from smalti.decoders.pyramid.pyramid_prior import PyramidPrior
from smalti.errors import DamagedArchiveError, LimitExceededError, SmaltiError, UnsupportedArchiveError, UsageError
from smalti.residual.choice import ResidualEstimator, choose_residuals
from smalti.residual.residuals import max_squared_error

GRID = (4, 4)


def write(path, prior, tokens, shape, labels=None, names=None, originals=None, batch=9, **fields):
    network = prior.network
    settings = {"token_grid": (1, tokens.shape[1]), "codebook_size": network.codes, "profile": "test"}
    spec = ArchiveSpec(image_shape=shape, **settings | fields)
    estimator, decoder = ResidualEstimator(), PyramidDecoder(network, prior.grid)
    with ArchiveWriter(path, spec, network, prior=prior) as writer:
        for start in range(0, len(tokens), batch):
            part, corrections = slice(start, start + batch), None
            if originals is not None:
                base = decoder.decode(tokens[part])[:, : shape[0], : shape[1]]
                bound = max_squared_error(spec.max_mse, shape)
                corrections = choose_residuals(originals[part], base, bound, estimator)
            writer.append(
                tokens[part, None],
                None if labels is None else labels[part],
                None if names is None else names[part],
                corrections,
            )
        writer.commit()
    return path


def made_up(path, seed, images, cut=1, **fields):
    """An archive of a random pyramid, and its expected contents."""
    rng = np.random.default_rng(seed)
    network = random_pyramid(rng, ((4, 4), (2, 2)), hidden=4)
    prior, tokens = random_prior(rng, network, GRID), random_tokens(rng, network, GRID, images)
    height, width = network.output_size(GRID)
    shape = (height - cut, width, 1)
    labels, names = np.arange(images) % 3, tuple(f"{i}.png" for i in range(images))
    write(path, prior, tokens, shape, labels, names, **fields)
    pixels = PyramidDecoder(network, GRID).decode(tokens)[:, : shape[0], : shape[1], 0]
    return SimpleNamespace(
        path=path, prior=prior, tokens=tokens, labels=labels, names=names, pixels=pixels, shape=shape
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """50 images in blocks of 20, most of them distinct."""
    found = made_up(tmp_path_factory.mktemp("pyramids") / "made.smalti", 0, 50, block_images=20)
    assert len(np.unique(found.pixels.reshape(50, -1), axis=0)) > 10
    return found


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The smallest archive with three blocks, for damage to every byte."""
    layer = Layer("up", np.ones((1, 1, 1, 1), np.int16), np.zeros(1, np.int32), np.zeros(1, np.uint8), (1, 1), (0, 0),
                  PixelTable(0, np.arange(256, dtype=np.uint8)))  # fmt: skip
    levels = (Level(0, 0, np.array([[10], [99]], np.int16)), Level(0, 0, np.array([[0], [5], [9]], np.int16)))
    scale = Scale((1, 1), np.ones((1, 1, 1, 1), np.int16))
    network = PyramidNetwork((scale,), levels, np.ones(1, np.int32), np.zeros(1, np.uint8), Clip(0, 255), (layer,))
    rng = np.random.default_rng(2)
    prior = random_prior(rng, network, (1, 2))
    tokens, labels, names = random_tokens(rng, network, (1, 2), 8), np.arange(8) % 3, tuple("abcdefgh")
    path = write(tmp_path_factory.mktemp("pyramids") / "small.smalti", prior, tokens, (1, 2, 1), labels, names,
                 block_images=3)  # fmt: skip
    pixels = PyramidDecoder(network, (1, 2)).decode(tokens)[..., 0]
    return SimpleNamespace(path=path, pixels=pixels, labels=labels, names=names)


@pytest.mark.parametrize("threads", [1, 3])
def test_images_tokens_and_columns_come_back(made, threads):
    with open_archive(made.path, threads=threads) as archive:
        assert (archive[:] == made.pixels).all() and (archive[7] == made.pixels[7]).all()
        assert (archive[[49, 3, 3, 20]] == made.pixels[[49, 3, 3, 20]]).all()
        assert (archive.tokens()[:, 0] == made.tokens).all() and archive.tokens(19, 22).shape == (
            3,
            1,
            made.tokens.shape[1],
        )
        assert (archive.labels == made.labels).all() and archive.names == made.names
        report = archive.verify("pixels")
        assert report.ok and report.pixels_sha256 == report.stored_sha256
        present = made.tokens[made.tokens != ABSENT]
        assert report.codes_used == archive.info().codes_used == len(np.unique(present))
        assert report.perplexity == archive.info().perplexity


def test_previews_and_levels(made):
    decoder, layout = PyramidDecoder(made.prior.network, GRID), made.prior.layout
    with open_archive(made.path) as archive:
        assert archive.levels == layout.levels == len(archive.info().levels)
        for levels in range(1, archive.levels + 1):
            expected = decoder.preview(made.tokens, levels)[:, : made.shape[0], :, 0]
            assert (archive.preview(slice(None), levels) == expected).all()
            assert (archive.preview(11, levels) == expected[11]).all()
        assert (archive.preview(slice(None), archive.levels) == archive[:]).all()
        for levels in (0, archive.levels + 1):
            with pytest.raises(UsageError, match="levels"):
                archive.preview(0, levels)
        assert archive.info().levels[0] == LevelInfo(0, (1, 1), 1, made.prior.network.levels[0].size)
        assert archive.info().decoder == "pyramid"


def test_an_archive_of_one_level_has_previews_too(tmp_path):
    from helpers.made_up_archives import random_tokens as plain_tokens  # noqa: PLC0415
    from helpers.made_up_archives import write as plain_write  # noqa: PLC0415

    with open_archive(plain_write(tmp_path / "a.smalti", plain_tokens(9), random_network())) as archive:
        assert archive.levels == 1 and archive.info().levels is None
        assert (archive.preview(slice(2, 5), 1) == archive[2:5]).all()
        with pytest.raises(UsageError):
            archive.preview(0, 2)


def near(made, times, seed=3):
    """Originals that the network decodes exactly, except for some."""
    rng = np.random.default_rng(seed)
    images = np.tile(made.pixels[..., None], (times, 1, 1, 1))
    rows = np.flatnonzero(rng.random(len(images)) < 0.05)
    images[rows] = np.clip(images[rows] + rng.normal(0, 40, images[rows].shape), 0, 255).astype(np.uint8)
    return images


@pytest.mark.parametrize("max_mse", [0.0, 0.002])
def test_a_promise_is_kept(made, tmp_path, max_mse):
    originals, tokens = near(made, times=20), np.tile(made.tokens, (20, 1))
    path = write(tmp_path / "a.smalti", made.prior, tokens, made.shape, originals=originals, max_mse=max_mse,
                 block_images=300, batch=200)  # fmt: skip
    with open_archive(path) as archive:
        errors = ((archive[:][..., None] / 255 - originals / 255) ** 2).mean(axis=(1, 2, 3))
        assert errors.max() <= max_mse and archive.verify("pixels").ok
        assert archive.info().decoder == "pyramid" and archive.info().promise.corrected > 0
        assert (archive.preview(slice(0, 50), archive.levels) == made.pixels).all()


def test_a_network_that_no_image_needs_is_left_out(made, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (50, *made.shape), np.uint8)
    path = write(tmp_path / "a.smalti", made.prior, made.tokens, made.shape, originals=noise, max_mse=0.0)
    with open_archive(path) as archive:
        assert (archive[:][..., None] == noise).all() and archive.info().decoder == "integer"
        assert archive.verify("pixels").ok and archive.levels == 1


def test_images_without_any_token(made, tmp_path):
    tokens = np.full_like(made.tokens, ABSENT)
    with open_archive(write(tmp_path / "a.smalti", made.prior, tokens, made.shape)) as archive:
        assert (archive.tokens() == ABSENT).all() and archive.verify("pixels").ok
        assert (archive.info().codes_used, archive.info().perplexity) == (0, 0.0)
        assert (
            archive[:] == PyramidDecoder(made.prior.network, GRID).decode(tokens[:1])[:, : made.shape[0], :, 0]
        ).all()


def test_recovery_and_repair(made, tmp_path):
    pytest.importorskip("reedsolo", reason="recovery needs the extra smalti[recovery]")
    sound = tmp_path / "a.smalti"
    write(sound, made.prior, made.tokens, made.shape, block_images=10, recovery=RecoverySpec(2, 3))
    data = sound.read_bytes()
    for name in ("model", "prior", "token block 2"):
        damaged, out = tmp_path / "damaged.smalti", tmp_path / "out.smalti"
        entry = next(entry for entry, _ in sections(sound) if entry.name == name)
        damaged.write_bytes(flip(data, entry.offset + FRAME_BYTES + 3))
        assert repair_archive(damaged, out, overwrite=True).ok
        assert out.read_bytes() == data


def test_every_flipped_byte_is_noticed(small, tmp_path):
    data, path = small.path.read_bytes(), tmp_path / "changed.smalti"
    for place in range(len(data)):
        content = flip(data, place, 1 << place // 2 % 8 if place % 2 else 0xFF)
        noticed, _ = (told_outcome if place % 7 else outcome)(small, path, content)
        assert noticed, f"byte {place} went unnoticed"


def test_what_is_told_without_a_model(small, tmp_path):
    path = tmp_path / "changed.smalti"
    entry = next(entry for entry, _ in sections(small.path) if entry.name == "model")
    path.write_bytes(flip(small.path.read_bytes(), entry.offset + FRAME_BYTES))
    with open_archive(path) as archive:
        assert archive.info().levels is None and archive.names == small.names
        report = archive.verify()
        assert report.damaged_images == 8 and len(report.damaged_sections) == 1
        with pytest.raises(DamagedArchiveError, match="no image can be decoded without it"):
            archive.preview(0, 1)


@WARNINGS_ARE_ERRORS
def test_any_byte_changed_under_right_checksums_is_an_error_of_ours_or_readable(small, tmp_path):
    path = tmp_path / "changed.smalti"
    for entry, payload in sections(small.path):
        for place in range(len(payload)) if entry.section in (2, 3, 4) else ():

            def change(section, ordinal, payload, at=(entry, place)):
                same = section == at[0].section and (section == 3 or ordinal == at[0].ordinal)
                return flip(payload, at[1], 1 << at[1] % 8) if same else payload

            path.write_bytes(rebuild(small.path, change))
            try:
                with open_archive(path, Limits(image_bytes=1 << 16, network_operations=1 << 16)) as archive:
                    archive.verify("pixels")
                    read_all(archive)
            except SmaltiError as error:
                assert "\n" not in str(error) and "changed.smalti" in str(error)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"token_grid":[1,4]', b'"token_grid":[4,1]'),
        (b'"token_grid":[1,4]', b'"token_grid":[1,5]'),
        (b'"codebook_size":5', b'"codebook_size":6'),
        (b'"decoder":"pyramid"', b'"decoder":"integer"'),
        (b'"padded_shape":[1,2]', b'"padded_shape":[1,3]'),
    ],
)
def test_headers_that_contradict_the_model(small, tmp_path, old, new):
    path = tmp_path / "changed.smalti"
    path.write_bytes(rebuild(small.path, replace(old, new)))
    with pytest.raises((DamagedArchiveError, LimitExceededError)), open_archive(path) as archive:
        read_all(archive)


def test_a_prior_of_another_kind_is_refused_by_number(small, tmp_path):
    path = tmp_path / "changed.smalti"

    def payload_of(section, _ordinal, payload):
        return b"\1" + payload[1:] if section == 3 else payload

    path.write_bytes(rebuild(small.path, payload_of))
    with open_archive(path) as archive, pytest.raises(UnsupportedArchiveError, match="prior: kind 1"):
        archive[0]


@pytest.mark.parametrize(("limit", "allowed"), [("block_bytes", 200), ("network_operations", 20), ("model_bytes", 80)])
def test_limits(made, limit, allowed):
    with pytest.raises(LimitExceededError, match=f"{limit}|raise the limit"):  # noqa: SIM117
        with open_archive(made.path, Limits(**{limit: allowed})) as archive:
            archive[0]


def test_what_a_writer_refuses(made, tmp_path):
    prior, tokens = made.prior, made.tokens
    spec = ArchiveSpec(made.shape, (1, tokens.shape[1]), prior.network.codes, "test")
    with pytest.raises(UsageError, match="prior"):
        ArchiveWriter(tmp_path / "a.smalti", spec, prior.network)
    other = random_network()
    with pytest.raises(UsageError, match="prior"):
        ArchiveWriter(tmp_path / "a.smalti", ArchiveSpec((8, 12, 1), (2, 3), 8, "test"), other, prior=prior)
    for shape, grid, codes in (
        (made.shape, (tokens.shape[1], 1), prior.network.codes),
        (made.shape, (1, tokens.shape[1] + 1), prior.network.codes),
        (made.shape, (1, tokens.shape[1]), prior.network.codes + 1),
        ((999, 9, 1), (1, tokens.shape[1]), prior.network.codes),
    ):
        with pytest.raises(UsageError):
            ArchiveWriter(tmp_path / "a.smalti", ArchiveSpec(shape, grid, codes, "test"), prior.network, prior=prior)
    with ArchiveWriter(tmp_path / "a.smalti", spec, prior.network, prior=prior) as writer, pytest.raises(UsageError):
        writer.append(np.full((1, 1, tokens.shape[1]), 60_000))
    assert list(tmp_path.iterdir()) == []


def test_blocks_are_large_and_their_latents_bounded(made, tmp_path):
    with open_archive(write(tmp_path / "a.smalti", made.prior, made.tokens, made.shape)) as archive:
        assert archive.info().block_images == 4096
    stem = np.zeros((60_000, 1, 1, 1), np.int16)
    layer = Layer("up", np.ones((1, 1, 1, 1), np.int16), np.zeros(1, np.int32), np.zeros(1, np.uint8), (1, 1), (0, 0),
                  PixelTable(0, np.zeros(1, np.uint8)))  # fmt: skip
    levels = (Level(0, 0, np.zeros((3, 1), np.int16)),)
    network = PyramidNetwork(
        (Scale((1, 1), stem),), levels, np.zeros(1, np.int32), np.zeros(1, np.uint8), Clip(0, 255), (layer,)
    )
    prior = PyramidPrior(
        network, (1, 1), made.prior.depths.from_counts(np.ones(2, np.int64), 4),
        (random_table_prior(np.random.default_rng(0), 1, 3),),
    )  # fmt: skip
    path = write(tmp_path / "b.smalti", prior, np.zeros((3, 1), np.uint16), (1, 1, 1))
    with open_archive(path) as archive:
        assert archive.info().block_images == (64 << 20) // (4 * 60_000)
        assert archive[:].shape == (3, 1, 1)
    assert TokenLayout(network, (1, 1)).tokens == 1
