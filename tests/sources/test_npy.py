import re
import zipfile
from pathlib import Path

import fsspec
import numpy as np
import pytest

from helpers.image_files import assert_same, everything, noise
from helpers.web_server import RangeHandler, served
from smalti.errors import SourceError
from smalti.images.batch import ImageBatch
from smalti.sources.open import open_source


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_is_read_with_the_labels_beside_it(tmp_path: Path, order: str) -> None:
    pixels = noise(7, 5, 4, 3)
    np.save(tmp_path / "a.npy", np.asarray(pixels, order=order))  # type: ignore[call-overload]
    assert everything(open_source(tmp_path / "a.npy")).labels is None
    np.save(tmp_path / "a.labels.npy", np.arange(7, dtype=np.int32))
    source = open_source(str(tmp_path / "a.npy"))
    assert_same(everything(source), ImageBatch(pixels, np.arange(7)))
    assert_same(everything(source), ImageBatch(pixels, np.arange(7)))


def test_npy_labels_of_another_length_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", noise(7, 5, 4))
    np.save(tmp_path / "a.labels.npy", np.arange(6))
    with pytest.raises(SourceError, match=r"a\.labels\.npy.*7 images"):
        open_source(tmp_path / "a.npy")


def test_damaged_npy_files_are_named_with_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, noise(50, 5, 4))
    whole = path.read_bytes()
    cases = {
        whole[:-1]: "truncated",
        whole[:40]: "truncated",
        whole[:7]: "truncated",
        b"": "empty",
        b"hello, world": r"no \.npy file",
    }
    for data, words in cases.items():
        path.write_bytes(data)
        with pytest.raises(SourceError, match=words):
            open_source(path)
    np.save(path, np.array([{}]), allow_pickle=True)
    with pytest.raises(SourceError, match="Python objects"):
        open_source(path)
    np.savez(tmp_path / "z.npz", a=noise(2, 3, 3))
    (tmp_path / "z.npz").rename(path)
    with pytest.raises(SourceError, match="archive of arrays"):
        open_source(path)


def test_npy_that_changes_between_batches_is_noticed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", noise(7, 5, 4))
    batches = open_source(tmp_path / "a.npy").batches(2)
    next(batches)
    np.save(tmp_path / "a.npy", noise(7, 5, 5))
    with pytest.raises(SourceError, match="changed"):
        next(batches)


@pytest.mark.parametrize("dtype", ["|u1", "<u2", ">u2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_ranges_of_a_file_are_slices_of_a_whole_pass(tmp_path: Path, dtype: str, order: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (11, 3, 4, 3)).astype(dtype)
    np.save(tmp_path / "a.npy", np.asarray(pixels, order=order))  # type: ignore[call-overload]
    np.save(tmp_path / "a.labels.npy", np.arange(11))
    source = open_source(tmp_path / "a.npy")
    whole = everything(source)
    assert source.dtype == whole.pixels.dtype == (np.uint8 if dtype == "|u1" else np.uint16)
    np.testing.assert_array_equal(whole.pixels, pixels)
    for start in range(11):
        for stop in range(start + 1, 12):
            assert_same(ImageBatch.joined(list(source.batches(4, start, stop))), whole.part(start, stop))
    assert not list(source.batches(4, 11))


def test_a_header_that_runs_no_code_and_is_no_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, noise(50, 5, 4))
    whole = path.read_bytes()
    for data in (
        whole.replace(b"'descr'", b"'other'"),
        whole.replace(b"(50, 5, 4)", b"exec('1') "),
        whole[:6] + b"\x09" + whole[7:],
    ):
        path.write_bytes(data)
        with pytest.raises(SourceError) as raised:
            open_source(path)
        assert "\n" not in str(raised.value)


def test_a_file_behind_a_url_is_read_by_ranges(tmp_path: Path) -> None:
    pixels = noise(6000, 64, 64)
    np.save(tmp_path / "a.npy", pixels)
    np.save(tmp_path / "a.labels.npy", np.arange(6000))
    with served(tmp_path) as url:
        source = open_source(url + "a.npy?token=secret")
        assert "secret" not in source.description
        found = next(source.batches(10, 4000))
        np.testing.assert_array_equal(found.pixels[..., 0], pixels[4000:4010])
        assert found.labels is not None
        assert found.labels.tolist() == list(range(4000, 4010))
    spans = [re.search(r"a\.npy.* bytes=(\d+)-(\d+)$", line) for line in RangeHandler.requested]
    fetched_bytes = sum(int(span[2]) - int(span[1]) + 1 for span in spans if span)
    assert 10 * 64 * 64 < fetched_bytes < pixels.nbytes * 0.6  # 4 MiB blocks of 24 MiB: two for headers, one of images


def test_fortran_order_behind_a_url_is_refused_with_what_to_do() -> None:
    with fsspec.open("memory://npy/f.npy", "wb") as file:
        np.save(file, np.asfortranarray(noise(5, 3, 4)))
    with pytest.raises(SourceError, match="ascontiguousarray"):
        everything(open_source("memory://npy/f.npy"))


def test_a_file_within_a_zip_file_behind_a_url(tmp_path: Path) -> None:
    pixels = noise(6, 5, 4)
    np.save(tmp_path / "a.npy", pixels)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(tmp_path / "a.npy", "inner/a.npy")
    with served(tmp_path) as url:
        source = open_source(f"zip://inner/a.npy::{url}a.zip")
        np.testing.assert_array_equal(everything(source).pixels[..., 0], pixels)
        np.testing.assert_array_equal(next(source.batches(2, 3)).pixels[..., 0], pixels[3:5])
