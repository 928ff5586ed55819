"""Images of several shapes in one file."""

import tempfile

import numpy as np
import pytest
from PIL import Image

import smalti
from smalti.codec.compress import compress_images
from smalti.codec.request import FitRequest, PackOptions
from smalti.errors import ModelError, SourceError, UsageError
from smalti.sources.open import open_groups
from smalti.training.observer import SilentObserver


@pytest.fixture(name="model_path")
def _model_path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "digits.smalti-model"
    model.save(path)
    return path


@pytest.fixture(name="mixed")
def _mixed(digits, tmp_path):
    """Digits, whole and cropped, grey and in colour, in two class folders, and a file that is no image."""
    root = tmp_path / "mixed"
    for number, digit in enumerate(digits.images[:24]):
        pixels = digit if number % 3 else digit[2:26, 4:24]
        pixels = np.stack([pixels] * 3, -1) if number % 4 == 0 else pixels
        (root / str(number % 2)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / str(number % 2) / f"{number:02}.png")
    (root / "0" / "empty.png").touch()
    return root


def test_each_shape_is_a_member_and_models_are_shared(mixed, model_path, tmp_path):
    grey = tmp_path / "grey"
    for path in sorted(mixed.rglob("*.png")):
        if path.stat().st_size and Image.open(path).mode == "L":
            target = grey / path.relative_to(mixed)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    report = compress_images(grey, tmp_path / "g.smalti", model_path)
    with smalti.open(tmp_path / "g.smalti") as archive:
        assert set(archive.image_shapes) == {(28, 28, 1), (24, 20, 1)} and len(archive) == 18
        shapes = dict(zip(archive.names, [image.shape for image in archive], strict=True))
        assert all(shapes[name] == np.asarray(Image.open(grey / name)).shape for name in archive.names)
        assert archive.class_names == ("0", "1") and report.info.shape is None
        model = report.info.bytes.model
    smalti.compress(next(iter(open_groups(grey)[0].batches(99))).pixels, tmp_path / "one.smalti", model=model_path)
    with smalti.open(tmp_path / "one.smalti") as alone:
        assert model < 1.5 * alone.info().bytes.model  # and not twice as much


def test_a_model_that_does_not_take_all_shapes_is_refused(mixed, model_path, tmp_path):
    with pytest.raises(ModelError, match="3 channels"):
        compress_images(mixed, tmp_path / "m.smalti", model_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mixed"]


def test_skipped_files_are_reported_once_or_refused(mixed, model_path, tmp_path):
    for path in list(mixed.rglob("*.png")):
        if path.stat().st_size and Image.open(path).mode != "L":
            path.unlink()
    report = compress_images(mixed, tmp_path / "m.smalti", model_path)
    assert [file.name for file in report.skipped] == ["0/empty.png"]
    with pytest.raises(SourceError, match="empty"):
        compress_images(mixed, tmp_path / "s.smalti", model_path, options=PackOptions(strict=True))
    assert not (tmp_path / "s.smalti").exists()


def test_a_target_in_bytes_is_for_one_shape(mixed, tmp_path):
    with pytest.raises(UsageError, match="one shape"):
        compress_images(mixed, tmp_path / "m.smalti", request=FitRequest("compact", target_bytes=1000))


def test_temporary_data_lies_beside_the_output(mixed, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no such folder"))
    monkeypatch.setattr("smalti.training.common.training_images.IN_MEMORY_BYTES", 0)
    (tmp_path / "out").mkdir()
    seen = []

    class Listener(SilentObserver):
        def on_step(self, stage, done, total):
            seen.append(sorted(path.suffix for path in (tmp_path / "out").iterdir()))

    request = FitRequest(codebook_size=4, epochs=1)
    report = compress_images(mixed, tmp_path / "out" / "m.smalti", request=request, observer=Listener())
    assert report.info.images == 24 and any(".spool" in suffixes for suffixes in seen)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["m.smalti"]
