import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.image_files import everything, noise
from smalti.errors import SourceError
from smalti.sources.open import open_source

SAVERS = [np.savez, np.savez_compressed]


@pytest.mark.parametrize("save", SAVERS)
def test_keras_layout_of_mnist(tmp_path: Path, save: Callable[..., None]) -> None:
    train, test = noise(6, 8, 8), noise(4, 8, 8, seed=1)
    save(tmp_path / "mnist.npz", x_test=test, x_train=train, y_train=np.arange(6, dtype=np.uint8), y_test=np.arange(4))
    found = everything(open_source(tmp_path / "mnist.npz"))
    np.testing.assert_array_equal(found.pixels[..., 0], np.concatenate([train, test]))
    assert found.labels is not None
    assert found.labels.tolist() == [*range(6), *range(4)]
    assert found.fields["split"] == ["train"] * 6 + ["test"] * 4


def test_one_array_without_a_name(tmp_path: Path) -> None:
    pixels = noise(4, 8, 7, 3)
    np.savez(tmp_path / "a.npz", pixels)
    np.testing.assert_array_equal(everything(open_source(tmp_path / "a.npz")).pixels, pixels)


def test_fortran_order_is_refused_with_what_to_do(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.asfortranarray(noise(4, 8, 7)))
    with pytest.raises(SourceError, match="ascontiguousarray"):
        everything(open_source(tmp_path / "a.npz"))


@pytest.mark.parametrize("key", ["images", "labels"])
def test_python_objects_are_never_loaded(tmp_path: Path, key: str) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    arrays: dict[str, np.ndarray] = {"images": noise(2, 4, 4), "labels": np.arange(2)}
    arrays[key] = np.array([Trap(), Trap()], object)
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(SourceError, match=f"::{key}: holds Python objects, which could run code") as raised:
        open_source(tmp_path / "a.npz")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("save", SAVERS)
def test_damage_is_an_error_and_never_wrong_pixels(tmp_path: Path, save: Callable[..., None]) -> None:
    pixels, path = noise(10, 4, 6), tmp_path / "a.npz"
    save(path, images=pixels)
    whole = path.read_bytes()
    for position in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[position] ^= 0x41
        path.write_bytes(damaged)
        try:
            found = everything(open_source(path))
        except SourceError as error:
            assert "\n" not in str(error)  # of dates and names there is none
            continue
        np.testing.assert_array_equal(found.pixels[..., 0], pixels)
        list(open_source(path).batches(2, 7))  # of a stored member, damage before the range is not seen
    for length in range(0, len(whole), 23):
        path.write_bytes(whole[:length])
        with pytest.raises(SourceError):
            everything(open_source(path))


def test_damage_before_a_range_of_a_deflated_member_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, images=noise(1000, 16, 16) // 4)
    source, data = open_source(path), bytearray(path.read_bytes())
    data[5000:5200] = bytes(200)
    path.write_bytes(data)
    with pytest.raises(SourceError, match="cannot be read"):
        list(source.batches(10, 900))


def test_a_stored_member_is_read_where_it_is_wanted(tmp_path: Path) -> None:
    """Damage before the range is found only by a pass that reads it."""
    pixels, path = noise(1000, 16, 16), tmp_path / "a.npz"
    np.savez(path, images=pixels)
    data = bytearray(path.read_bytes())
    data[3000] ^= 1
    path.write_bytes(data)
    source = open_source(path)
    np.testing.assert_array_equal(next(source.batches(50, 900)).pixels[..., 0], pixels[900:950])
    with pytest.raises(SourceError, match="CRC"):
        everything(source, 100)


@pytest.mark.parametrize(
    ("method", "words"), [(zipfile.ZIP_BZIP2, "another method"), (zipfile.ZIP_LZMA, "another method")]
)
def test_other_methods_of_packing_are_refused(tmp_path: Path, method: int, words: str) -> None:
    buffer = io.BytesIO()
    np.save(buffer, noise(3, 4, 4))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as packed:
        packed.writestr("images.npy", buffer.getvalue())
    with pytest.raises(SourceError, match=words):
        open_source(tmp_path / "a.npz")


def test_an_array_for_each_image_is_refused_with_what_to_do(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{f"image{number}": noise(4, 4) for number in range(1001)})
    with pytest.raises(SourceError, match="1001 arrays; save the images as one array"):
        open_source(tmp_path / "a.npz")
