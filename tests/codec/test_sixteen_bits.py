"""Images of 16 bits are fitted, packed, bounded and compared, with either decoder."""

import numpy as np
import pytest
import torch

from helpers.tiny_fits import small_images, tiny_settings, training_images
from helpers.tiny_pyramids import pyramid_settings, quick_fits
from smalti.archive.read.reader import open_archive
from smalti.codec.fit import fit_source
from smalti.codec.pack import pack as pack_source
from smalti.codec.request import FitRequest, PackOptions
from smalti.errors import ModelError, SourceError, UsageError
from smalti.exchange import compare
from smalti.sources.arrays.array_source import ArraySource
from smalti.sources.open import open_source
from smalti.torch_decoders.kinds import TORCH_DECODERS
from smalti.training.common.goal import Goal
from smalti.training.kinds import load_model
from smalti.training.paper.fit_grid import fit

LOW = 500


def tiles(count=24, seed=0):
    """Blobs of 12 bits above an offset, with the noise of a sensor: uint16 [count, 16, 16, 1]."""
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0, 9, (count, 16, 16, 1))
    return (small_images(count, 16, 16, seed=seed) * 14.0 + LOW + noise).astype(np.uint16)


@pytest.fixture(scope="module")
def grid_model():
    return fit(training_images(tiles()), tiles()[:8], tiny_settings(epochs=10))


@pytest.fixture(scope="module")
def pyramid_model():
    with pytest.MonkeyPatch.context() as patch:
        quick_fits(patch, steps=60)
        settings = pyramid_settings(codes=8)
        return fit_source(open_source(tiles()), settings)


@pytest.fixture(params=["integer", "pyramid"])
def model(request):
    return request.getfixturevalue("grid_model" if request.param == "integer" else "pyramid_model")


def pack(model, path, pixels=None, **options):
    source = open_source(tiles() if pixels is None else pixels)
    request = FitRequest(effort=0) if hasattr(model, "pyramid") else FitRequest()
    return pack_source(source, path, model, request, PackOptions(**options))


def by_torch(archive):
    """Decode the tokens of an archive with the decoders in PyTorch."""
    tokens = archive.tokens().astype(np.int64)
    ranks = np.zeros(1 << 16, np.int64)
    ranks[archive.model.code_ids] = np.arange(len(archive.model.code_ids))
    decode = TORCH_DECODERS[archive.model.kind](archive.model, torch.device("cpu"))
    return decode(torch.from_numpy(ranks[tokens])).numpy()


def test_an_archive_has_the_pixels_of_the_range_that_was_learned(model, tmp_path):
    report = pack(model, tmp_path / "a.smalti")
    with open_archive(tmp_path / "a.smalti") as archive:
        decoded, info = archive[:], archive.info()
        assert decoded.dtype == archive.dtype == np.uint16 and info.dtype == "uint16"
        assert info.raw_bytes == 2 * decoded.size and info.ratio == info.raw_bytes / info.archive_bytes
        assert decoded.min() >= LOW and decoded.max() <= model.scale.high <= int(tiles().max()) + model.scale.step
        quality = compare(archive, open_source(tiles())).quality
        assert archive.verify("pixels").ok
    errors = ((decoded / 65_535 - tiles()[..., 0] / 65_535) ** 2).mean(axis=(1, 2))
    assert quality.mse_mean == pytest.approx(errors.mean(), rel=1e-9) and report.info.dtype == "uint16"
    if not hasattr(model, "pyramid"):  # the fit said so of its validation images
        assert model.quantization["mse"] == pytest.approx(errors[:8].mean(), rel=1e-9)


def test_pytorch_gives_the_same_bits(model, tmp_path):
    pack(model, tmp_path / "a.smalti")
    with open_archive(tmp_path / "a.smalti") as archive:
        assert len(np.unique(archive[:])) > 20
        assert (by_torch(archive)[..., 0] == archive[:]).all()


@pytest.mark.parametrize("max_mse", [0, 1e-7])
def test_the_error_bound_holds(model, tmp_path, max_mse):
    pixels = np.concatenate([tiles(), np.full((1, 16, 16, 1), 65_535, np.uint16)])  # and one that was never seen
    pack(model, tmp_path / "a.smalti", pixels, max_mse=max_mse)
    with open_archive(tmp_path / "a.smalti") as archive:
        decoded, info = archive[:][..., None], archive.info()
        assert archive.verify("pixels").ok
        assert (archive[[24, 3, 3]][..., None] == decoded[[24, 3, 3]]).all()
    errors = ((decoded / 65_535 - pixels / 65_535) ** 2).mean(axis=(1, 2, 3))
    assert errors.max() <= max_mse and (max_mse or (decoded == pixels).all())
    assert info.archive_bytes < info.raw_bytes and info.promise.max_mse == max_mse


def test_a_model_file_keeps_the_range(model, tmp_path):
    model.save(tmp_path / "m.smalti-model")
    again = load_model(tmp_path / "m.smalti-model")
    assert again.scale == model.scale and again.scale.low == int(tiles().min())
    pack(model, tmp_path / "a.smalti")
    pack(again, tmp_path / "b.smalti")
    assert (tmp_path / "a.smalti").read_bytes() == (tmp_path / "b.smalti").read_bytes()


def test_the_other_type_is_refused_in_one_line(model, tmp_path):
    eight = small_images(3, 16, 16)
    with pytest.raises(ModelError, match=r"but .* \(uint8, not uint16\); fit a model on such images"):
        pack(model, tmp_path / "a.smalti", eight)
    pack(model, tmp_path / "a.smalti")
    with open_archive(tmp_path / "a.smalti") as archive, pytest.raises(SourceError, match="has pixels of uint8, the"):
        compare(archive, open_source(eight[:, :, :]))


def test_targets_are_of_the_whole_type_and_aims_of_the_range(pyramid_model):
    scale = pyramid_model.scale
    assert Goal(mse=1e-6).unit_mse(scale) == pytest.approx(1e-6 * (65_535 / (scale.high - scale.low)) ** 2)
    assert Goal(mse=0.002, of_range=True).unit_mse(scale) == 0.002
    assert Goal(archive_bytes=9_999).unit_mse(scale) is None


def test_an_array_goes_in_and_comes_out(tmp_path):
    import smalti  # noqa: PLC0415 (the whole package, as users have it)

    pixels = tiles(12)[..., 0]
    smalti.compress(pixels, tmp_path / "a.smalti", profile="paper", epochs=1, codebook_size=8, max_mse=0)
    with smalti.open(tmp_path / "a.smalti") as archive:
        assert archive[:].dtype == np.uint16 and (archive[:] == pixels).all() and (archive[5] == pixels[5]).all()


def test_a_constant_collection_is_no_trouble(tmp_path):
    flat = np.full((6, 8, 8, 1), 65_535, np.uint16)
    model = fit(training_images(flat), flat[:2], tiny_settings(epochs=1))
    pack_source(ArraySource(flat), tmp_path / "a.smalti", model, options=PackOptions(max_mse=0))
    with open_archive(tmp_path / "a.smalti") as archive:
        assert (archive[:] == 65_535).all()


def test_a_spec_and_its_decoder_agree(grid_model, tmp_path):
    from smalti.archive.write.spec import ArchiveSpec  # noqa: PLC0415
    from smalti.archive.write.writer import ArchiveWriter  # noqa: PLC0415

    spec = ArchiveSpec((16, 16, 1), (4, 4), grid_model.codebook_size, "paper")
    with pytest.raises(UsageError, match="makes pixels of uint16, the archive is to have uint8"):
        ArchiveWriter(tmp_path / "a.smalti", spec, grid_model.decoder)
    with pytest.raises(UsageError, match="pixels of float32 cannot be stored"):
        ArchiveSpec((16, 16, 1), (4, 4), 12, "paper", dtype="float32")
