"""Archives with residuals and an error bound."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from helpers.damaged_files import flip, outcome, rebuild, replace, sections, told_outcome
from helpers.made_up_archives import one_layer_network, random_network, random_tokens
from smalti.archive.format.limits import Limits
from smalti.archive.read.reader import open_archive
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.writer import ArchiveWriter
from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.errors import DamagedArchiveError, LimitExceededError, UsageError
from smalti.residual.choice import ResidualEstimator, choose_residuals
from smalti.residual.modes import EXACT
from smalti.residual.residuals import Residuals, max_squared_error


def write_promised(path, tokens, originals, network, max_mse, names=None, batch=9, **fields):
    """Write an archive with the residuals that the originals (uint8 [n, H, W, C]) need."""
    shape = originals.shape[1:]
    settings = {"image_shape": shape, "token_grid": tokens.shape[1:], "codebook_size": network.codes, "profile": "test"}
    spec = ArchiveSpec(**settings | {"max_mse": max_mse} | fields)
    estimator, bound = ResidualEstimator(), max_squared_error(max_mse, shape)
    with ArchiveWriter(path, spec, network) as writer:
        for start in range(0, len(tokens), batch):
            part = slice(start, start + batch)
            base = IntegerDecoder(network).decode(tokens[part])[:, : shape[0], : shape[1]]
            corrections = choose_residuals(originals[part], base, bound, estimator)
            writer.append(tokens[part], None, None if names is None else names[part], corrections)
        writer.commit()
    return path


def mse(images, originals):
    return (np.square((images.reshape(originals.shape).astype(float) - originals) / 255)).mean(axis=(1, 2, 3))


def near(network, tokens, shape, seed=3, wrong=0.3):
    """Originals that the network decodes exactly, except for some."""
    rng = np.random.default_rng(seed)
    images = IntegerDecoder(network).decode(tokens)[:, : shape[0], : shape[1]].copy()
    rows = np.flatnonzero(rng.random(len(images)) < wrong)
    images[rows] = np.clip(images[rows] + rng.normal(0, 40, images[rows].shape), 0, 255).astype(np.uint8)
    return images


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    network, tokens = random_network(), random_tokens(60)
    originals = near(network, tokens, (7, 11))
    path = tmp_path_factory.mktemp("promised") / "a.smalti"
    write_promised(path, tokens, originals, network, 0.002, block_images=20)
    return path, tokens, originals


def test_every_image_keeps_the_promise_in_any_order(case):
    path, tokens, originals = case
    with open_archive(path, threads=2) as archive:
        whole = archive[:]
        assert mse(whole, originals).max() <= 0.002
        promise = archive.info().promise
        assert promise.max_mse == 0.002 and 5 < promise.corrected + promise.stored < 40
        assert (archive.tokens() == tokens).all()
        for index in np.random.default_rng(0).permutation(60).tolist():
            assert (archive[index] == whole[index]).all()
        some = [5, 5, 59, 0, 21, 5, 40]
        assert (archive[some] == whole[some]).all()
        assert (np.concatenate([batch.pixels for batch in archive.batches(17)])[..., 0] == whole).all()
        report = archive.verify("pixels")
        assert report.ok and report.pixels_sha256 == hashlib.sha256(whole.tobytes()).hexdigest()
        info = archive.info()
        parts = info.bytes
        assert (
            parts.header + parts.model + parts.prior + parts.tokens + parts.index + parts.columns == path.stat().st_size
        )


def test_a_promise_that_all_images_keep_writes_no_corrections(tmp_path):
    network, tokens = random_network(), random_tokens(30)
    originals = near(network, tokens, (8, 12), wrong=0)
    path = write_promised(tmp_path / "a.smalti", tokens, originals, network, 0.0)
    with open_archive(path) as archive:
        assert (archive[:][..., None] == originals).all()
        assert (archive.info().promise.corrected, archive.info().promise.stored) == (0, 0)
        assert not any(entry.section == 7 for entry in archive._file.entries) and archive.verify("pixels").ok


@pytest.mark.parametrize("channels", [1, 3])
def test_noise_without_loss_costs_its_bytes_and_drops_the_decoder(tmp_path, channels):
    images = np.random.default_rng(0).integers(0, 256, (600, 24, 24, channels)).astype(np.uint8)
    network, tokens = random_network(codes=64, channels=channels, hidden=16, scale=4), random_tokens(600, (2, 2), 64)
    path = write_promised(tmp_path / "a.smalti", tokens, images, network, 0.0, image_shape=(24, 24, channels))
    with open_archive(path) as archive:
        assert (archive[:].reshape(images.shape) == images).all() and archive.verify("pixels").ok
        info = archive.info()
        assert (info.promise.corrected, info.promise.stored) == (0, 600)
        assert (info.token_grid, info.codes_used, info.perplexity) == ((2, 2), 1, 1.0) and info.bytes.model < 300
        assert (archive[7].reshape(24, 24, channels) == images[7]).all()
    assert path.stat().st_size <= 1.01 * images.size


def test_same_input_same_bytes_whatever_the_batches(case, tmp_path):
    """The choice of residuals may depend on batches; the bytes written for a choice do not."""
    _, tokens, _ = case
    rng, network = np.random.default_rng(0), random_network()
    modes = rng.integers(0, 6, 60).astype(np.uint8)
    symbols = rng.integers(0, 9, (np.count_nonzero(modes), 8, 12, 1)).astype(np.uint8)
    whole, written = Residuals(modes, symbols), []
    for batch in (1, 7, 60):
        path = tmp_path / f"{batch}.smalti"
        spec = ArchiveSpec((8, 12, 1), (2, 3), 8, "test", block_images=25, max_mse=0.5)
        with ArchiveWriter(path, spec, network, threads=2) as writer:
            for start in range(0, 60, batch):
                part = slice(start, start + batch)
                writer.append(tokens[part], residuals=whole.part(part))
            writer.commit()
        written.append(path.read_bytes())
    assert written[0] == written[1] == written[2]


def test_images_without_corrections_may_be_appended(tmp_path):
    path, spec = tmp_path / "a.smalti", ArchiveSpec((8, 12, 1), (2, 3), 8, "test", max_mse=0.5)
    some = Residuals(np.array([1, 0], np.uint8), np.full((1, 8, 12, 1), 9, np.uint8))
    with ArchiveWriter(path, spec, random_network()) as writer:
        writer.append(random_tokens(2))
        writer.append(random_tokens(2), residuals=some)
        writer.append(random_tokens(96))  # enough images for their decoder to pay
        writer.commit()
    with open_archive(path) as archive:
        assert (archive[2] == 9).all() and (archive[1] == archive[3]).all()
        assert archive.info().promise.stored == 1


def test_corrections_that_do_not_fit(tmp_path):
    spec = ArchiveSpec((8, 12, 1), (2, 3), 8, "test", max_mse=0.5)
    few = Residuals(np.zeros(1, np.uint8), np.zeros((0, 8, 12, 1), np.uint8))
    other = Residuals(np.ones(2, np.uint8), np.zeros((2, 8, 11, 1), np.uint8))
    for bad in (few, other):
        with ArchiveWriter(tmp_path / "a.smalti", spec, random_network()) as writer, pytest.raises(UsageError):
            writer.append(random_tokens(2), residuals=bad)
    unbounded = ArchiveSpec((8, 12, 1), (2, 3), 8, "test")
    writer = ArchiveWriter(tmp_path / "a.smalti", unbounded, random_network())
    with pytest.raises(UsageError, match="without an error bound"):
        writer.append(random_tokens(1), residuals=few)
    with pytest.raises(UsageError, match="too many to correct"):
        ArchiveSpec((2048, 2048, 1), (2, 3), 8, "test", block_images=1024, max_mse=0.5)
    assert list(tmp_path.iterdir()) == []


def test_a_limit_of_blocks_with_corrections(case):
    with pytest.raises(LimitExceededError, match="corrected_bytes=1540"):
        open_archive(case[0], Limits(corrected_bytes=1000))


def test_lost_tables_of_corrections_cost_all_images_and_say_so(case, tmp_path):
    data, path = case[0].read_bytes(), tmp_path / "a.smalti"
    place = next(entry for entry, _ in sections(case[0]) if entry.section == 7)
    for content in (flip(data, place.offset + 40), data[: place.offset] + data[place.end :]):
        path.write_bytes(content)
        with open_archive(path) as archive:
            with pytest.raises(DamagedArchiveError, match=r"corrections: .*no image can be decoded without it"):
                archive[0]
            assert archive.verify().damaged_images == 60


def test_a_corrections_stream_that_is_none_is_named(case, tmp_path):
    """Wrong residuals under right checksums, and residuals in a file whose header states none."""

    def other(section, ordinal, payload):
        return payload[:-9] if (section, ordinal) == (4, 1) else payload

    path = tmp_path / "a.smalti"
    path.write_bytes(rebuild(case[0], other))
    with open_archive(path) as archive:
        with pytest.raises(DamagedArchiveError, match=r"a\.smalti: token block 1 \(images 20 to 39\): corrections"):
            archive[20]
        assert archive[0].shape == (7, 11)
        assert archive.verify().ok and archive.verify("pixels").damaged_images == 20

    def forgotten(section, ordinal, payload):
        if section == 1:
            start = payload.index(b'"promise":')
            return payload[:start] + b'"promise":null' + payload[payload.index(b',"provenance"') :]
        return None if section == 7 else payload

    path.write_bytes(rebuild(case[0], forgotten))
    with open_archive(path) as archive, pytest.raises(DamagedArchiveError, match="the header knows nothing"):
        archive[0]
    with pytest.raises(DamagedArchiveError, match="promise"):
        path.write_bytes(rebuild(case[0], replace(b'"stored":', b'"stored":9')))
        open_archive(path)


def test_flips_cost_one_block_at_most(tmp_path):
    """Damage to every byte of the residuals' prior and of the blocks with residuals."""

    network, tokens = one_layer_network(), random_tokens(9, (1, 2), 3)
    originals = near(network, tokens, (2, 4), wrong=0.6)
    names = tuple(f"{number}.png" for number in range(9))
    original = write_promised(tmp_path / "a.smalti", tokens, originals, network, 0.001, names, block_images=3)
    with open_archive(original) as archive:
        made, promise = SimpleNamespace(pixels=archive[:], labels=None, names=names), archive.info().promise
    assert promise.corrected + promise.stored > 2
    data, path = original.read_bytes(), tmp_path / "changed.smalti"
    for entry, _ in sections(original):
        for place in range(entry.offset, entry.end) if entry.section in (4, 7) else ():
            noticed, lost = (told_outcome if place % 5 else outcome)(made, path, flip(data, place))
            assert noticed and lost <= (3 if entry.section == 4 else 9), place


def test_real_digits_without_loss(tmp_path):
    with np.load(Path(__file__).parents[1] / "data" / "mnist_slice.npz") as slices:
        images = slices["images"][:100, :, :, None]
    tokens = np.zeros((100, 2, 3), np.int64)
    path = write_promised(tmp_path / "a.smalti", tokens, images[:, :8, :12], random_network(), 0.0)
    with open_archive(path) as archive:
        assert (archive[:][..., None] == images[:, :8, :12]).all()


def test_a_decoder_that_only_costs_is_left_out(tmp_path):
    """Noise, with some images corrected from the decoder's output all the same."""
    noise = np.random.default_rng(1).integers(0, 256, (40, 8, 8, 1), np.uint8)
    network, tokens = random_network(16), random_tokens(40, (2, 2), 16)
    exact = Residuals(np.full(40, EXACT, np.uint8), noise)
    spec = ArchiveSpec((8, 8, 1), (2, 2), 16, "made up", max_mse=0.0)
    with ArchiveWriter(tmp_path / "noise.smalti", spec, network) as writer:
        writer.append(tokens, residuals=exact)
        writer.commit()
    with open_archive(tmp_path / "noise.smalti") as archive:
        np.testing.assert_array_equal(archive[:], noise[..., 0])
        assert archive.info().promise.stored == 40 and archive.verify("pixels").ok
        assert archive.info().bytes.model < 300  # that of the network is twice as much and more
