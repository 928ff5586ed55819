from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from smalti.bench import run
from smalti.bench.codecs import codecs_for
from smalti.bench.results import BenchResult
from smalti.bench.run import BenchFiles, run_bench
from smalti.codec.pack import pack
from smalti.errors import SourceError
from smalti.sources.open import open_source

FEW = tuple(
    replace(codec, ladder=(codec.ladder[1], 10.0)) for codec in codecs_for(1) if codec.family in {"JPEG", "JPEG XL"}
)


@pytest.fixture(autouse=True)
def few_codecs(monkeypatch):
    monkeypatch.setattr(run, "codecs_for", lambda channels: FEW)


@pytest.fixture
def source(digits, tmp_path):
    path = tmp_path / "digits.npy"
    np.save(path, digits.images)
    np.save(tmp_path / "digits.labels.npy", digits.labels)
    return path


@pytest.fixture
def packed(source, model, tmp_path):
    path = tmp_path / "mine.smalti"
    pack(open_source(source), path, model)
    return path


def bench(source, folder, *archives, heard=None):
    return run_bench(str(source), folder, archives, "smalti bench", [].append if heard is None else heard.append)


def test_an_archive_is_decoded_and_measured(source, packed, tmp_path, digits):
    import smalti  # noqa: PLC0415

    result, files = bench(source, tmp_path / "out", packed)
    (mine,) = result.archives
    with smalti.open(packed) as archive:
        error = ((archive[:].astype(float) - digits.images) / 255) ** 2
    assert mine.mse == mine.first_100_mse == pytest.approx(error.mean())
    parts = ("header", "model", "prior", "tokens", "index", "columns")
    assert sum(getattr(mine, f"{part}_bytes") for part in parts) == mine.archive_bytes == packed.stat().st_size
    assert mine.columns_bytes > 0 and mine.bytes_per_image == (mine.archive_bytes - mine.columns_bytes) / 64
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"digits.json", "digits.md", "digits.png"}
    assert BenchResult.read(files.numbers) == result
    assert "| mine |" in files.page.read_text()


def test_stored_measurements_are_not_repeated(source, packed, tmp_path, monkeypatch):
    heard = []
    first, _ = bench(source, tmp_path / "out", heard=heard)
    assert heard == ["JPEG: 2 settings", "JPEG XL: 2 settings"]
    heard.clear()
    second, _ = bench(source, tmp_path / "out", packed, heard=heard)
    assert heard == [f"archive {packed}"]
    assert second.curves == first.curves and len(second.archives) == 1
    monkeypatch.setattr("smalti.bench.run.compare", None)  # would fail if an equal file were decoded again
    assert bench(source, tmp_path / "out", packed)[0].archives == second.archives
    assert bench(source, tmp_path / "out")[0].archives == second.archives


def test_other_settings_or_other_images_are_measured_anew(source, tmp_path, monkeypatch, digits):
    before, _ = bench(source, tmp_path / "out")
    monkeypatch.setattr(run, "codecs_for", lambda channels: (FEW[0], replace(FEW[1], ladder=(10.0, 3.0))))
    heard = []
    after, _ = bench(source, tmp_path / "out", heard=heard)
    assert heard == ["JPEG XL: 2 settings"] and after.curve("JPEG XL") != before.curve("JPEG XL")
    np.save(source, 255 - digits.images)
    heard.clear()
    bench(source, tmp_path / "out", heard=heard)
    assert heard == ["JPEG: 2 settings", "JPEG XL: 2 settings"]


def test_a_stopped_run_stores_its_measurements(source, tmp_path):
    def stop_at_jpeg_xl(line):
        if line.startswith("JPEG XL"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_bench(str(source), tmp_path / "out", (), "smalti bench", stop_at_jpeg_xl)
    kept = BenchResult.read(tmp_path / "out" / "digits.json")
    assert [curve.name for curve in kept.curves] == ["JPEG"]


def test_an_archive_of_other_images_is_refused(packed, tmp_path, digits):
    np.save(tmp_path / "others.npy", digits.images[:30])
    with pytest.raises(SourceError, match="30 images, the archive 64"):
        bench(tmp_path / "others.npy", tmp_path / "out", packed)


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        ("cifar-10/test", "cifar-10-test"),
        ("mnist", "mnist"),
        ("a/b/my photos", "my-photos"),
        ("a/tiles.npy", "tiles"),
        ("..", "images"),
    ],
)
def test_results_are_named_by_the_source(source, stem):
    assert BenchFiles.of(source, Path("out")).numbers == Path("out") / f"{stem}.json"
