import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

from smalti.errors import SourceError
from smalti.sources.entry_range import Entries, listing_sha256, member_files, source_kind

GREY = (28, 28, 1), np.dtype(np.uint8)


@pytest.fixture
def mixed(digits, tmp_path):
    """Ten files: 0, 1 and 5 to 9 are digits, 2 is smaller, 3 has 16 bits, 4 is broken; and a text."""
    root = tmp_path / "mixed"
    root.mkdir()
    for number in range(10):
        Image.fromarray(digits.images[number]).save(root / f"{number}.png")
    Image.fromarray(digits.images[2][:9, :7]).save(root / "2.png")
    Image.fromarray(digits.images[3].astype(np.uint16)).save(root / "3.png")
    (root / "4.png").write_bytes(b"no image")
    (root / "notes.txt").write_text("notes")
    return root


def read(source):
    return np.concatenate([batch.pixels[..., 0] for batch in source.batches(3)])


def test_a_stretch_is_of_one_shape_and_tells_the_rest(mixed, digits):
    entries = Entries(str(mixed), group=GREY)
    assert len(entries) == 10
    source, told = entries.entry_range(0, 5)
    np.testing.assert_array_equal(read(source), digits.images[:2])
    assert {file.name: file.reason for file in told} == {file.name: file.reason for file in source.skipped}
    reasons = {file.name: file.reason for file in told}
    assert set(reasons) == {"2.png", "3.png", "4.png", "notes.txt"}
    assert reasons["2.png"] == "9x7 L; the model takes 28x28 L"
    assert reasons["3.png"] == "28x28 L of 16 bits; the model takes 28x28 L"
    source, told = entries.entry_range(5, 10)
    np.testing.assert_array_equal(read(source), digits.images[5:10])
    assert told == () and [batch.names for batch in source.batches(9)] == [tuple(f"{n}.png" for n in range(5, 10))]


def test_a_stretch_may_hold_no_image(mixed):
    source, told = Entries(str(mixed), group=GREY).entry_range(2, 5)
    assert source is None and [file.name for file in told] == ["2.png", "3.png", "4.png"]


def test_only_the_files_of_a_stretch_are_looked_at(mixed, digits):
    entries = Entries(str(mixed), group=GREY)
    shutil.rmtree(mixed)
    mixed.mkdir()
    Image.fromarray(digits.images[7]).save(mixed / "7.png")
    np.testing.assert_array_equal(read(entries.entry_range(7, 8)[0]), digits.images[7:8])


def test_of_several_arrays_that_of_the_shape_is_taken(digits, tmp_path):
    np.savez(tmp_path / "a.npz", train_images=digits.images[:6], test_images=digits.images[:4, :9])
    entries = Entries(str(tmp_path / "a.npz"), group=GREY)
    source, told = entries.entry_range(2, 5)
    np.testing.assert_array_equal(read(source), digits.images[2:5])
    assert told == () and len(entries) == 6
    assert "4 of 9x28 L; the model takes 28x28 L" in entries.entry_range(0, 2)[1][0].reason
    assert len(Entries(str(tmp_path / "a.npz"), group=((5, 5, 1), np.dtype(np.uint8)))) == 0


def test_kinds_and_member_files(mixed, tmp_path):
    tars = tmp_path / "tars"
    tars.mkdir()
    for name in ("b.tar", "a.tar", ".hidden.tar"):
        with tarfile.open(tars / name, "w") as tar:
            tar.add(mixed / "0.png", name)
    assert member_files(str(tars)) == ("a.tar", "b.tar")
    assert member_files(str(tars / "{b,a}.tar")) == (str(tars / "b.tar"), str(tars / "a.tar"))
    assert member_files(str(mixed)) == member_files("mnist") == member_files(str(tars / "a.tar")) == ()
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 28, 28), np.uint8))
    kinds = {"mnist/test": "set", str(tars / "*.tar"): "pattern", str(mixed): "folder", str(mixed / "0.png"): "file"}
    kinds[str(tmp_path / "a.npz::x")] = "file"
    assert {spec: source_kind(spec) for spec in kinds} == kinds


def test_listings_are_of_names_and_sizes(mixed):
    before = listing_sha256(str(mixed))
    (mixed / "0.png").touch()
    assert listing_sha256(str(mixed)) == before
    (mixed / "0.png").rename(mixed / "00.png")
    assert listing_sha256(str(mixed)) != before
    with pytest.raises(SourceError, match="no such file"):
        listing_sha256(str(mixed / "none::x"))
