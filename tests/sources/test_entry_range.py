import shutil
import tarfile
from functools import partial

import numpy as np
import pytest
from PIL import Image

from helpers.made_up_archives import random_network, random_tokens, write
from smalti.archive.collection.collection_writer import write_collection
from smalti.archive.read.reader import open_archive
from smalti.errors import SourceError
from smalti.sources.entry_range import Entries, listing_sha256, member_files, source_kind

GREY = (28, 28, 1), np.dtype(np.uint8)


@pytest.fixture
def mixed(digits, tmp_path):
    """Ten files: 0, 1 and 5 to 9 are digits, 2 is smaller, 3 has 16 bits, 4 is damaged; and a text."""
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


def test_a_range_has_one_shape_and_lists_the_rest_as_skipped(mixed, digits):
    entries = Entries(str(mixed), group=GREY)
    assert len(entries) == 10
    source, skipped = entries.entry_range(0, 5)
    np.testing.assert_array_equal(read(source), digits.images[:2])
    assert {file.name: file.reason for file in skipped} == {file.name: file.reason for file in source.skipped}
    reasons = {file.name: file.reason for file in skipped}
    assert set(reasons) == {"2.png", "3.png", "4.png", "notes.txt"}
    assert reasons["2.png"] == "9x7 L; the model takes 28x28 L"
    assert reasons["3.png"] == "28x28 L of 16 bits; the model takes 28x28 L"
    source, skipped = entries.entry_range(5, 10)
    np.testing.assert_array_equal(read(source), digits.images[5:10])
    assert skipped == () and [batch.names for batch in source.batches(9)] == [tuple(f"{n}.png" for n in range(5, 10))]


def test_a_range_may_hold_no_image(mixed):
    source, skipped = Entries(str(mixed), group=GREY).entry_range(2, 5)
    assert source is None and [file.name for file in skipped] == ["2.png", "3.png", "4.png"]


def test_only_the_files_of_a_range_are_read(mixed, digits):
    entries = Entries(str(mixed), group=GREY)
    shutil.rmtree(mixed)
    mixed.mkdir()
    Image.fromarray(digits.images[7]).save(mixed / "7.png")
    np.testing.assert_array_equal(read(entries.entry_range(7, 8)[0]), digits.images[7:8])


def test_of_several_arrays_the_one_of_the_shape_is_read(digits, tmp_path):
    np.savez(tmp_path / "a.npz", train_images=digits.images[:6], test_images=digits.images[:4, :9])
    entries = Entries(str(tmp_path / "a.npz"), group=GREY)
    source, skipped = entries.entry_range(2, 5)
    np.testing.assert_array_equal(read(source), digits.images[2:5])
    assert skipped == () and len(entries) == 6
    assert "4 of 9x28 L; the model takes 28x28 L" in entries.entry_range(0, 2)[1][0].reason
    assert len(Entries(str(tmp_path / "a.npz"), group=((5, 5, 1), np.dtype(np.uint8)))) == 0


def test_all_members_of_the_shape_are_read_of_a_collection(tmp_path):
    network, paths = random_network(), []
    for number, shape in enumerate([(7, 11, 1), (8, 12, 1), (7, 11, 1)]):
        paths.append(tmp_path / f"{number}.smalti")
        write(paths[-1], random_tokens(number + 2), network, image_shape=shape)
    write_collection(tmp_path / "all.smalti", [partial(open_archive, path) for path in paths])
    entries = Entries(str(tmp_path / "all.smalti"), group=((7, 11, 1), np.dtype(np.uint8)))
    source, skipped = entries.entry_range(0, 6)
    assert len(entries) == 6 and [file.reason for file in skipped] == ["3 of 8x12 L; the model takes 7x11 L"]
    with open_archive(paths[0]) as first, open_archive(paths[2]) as last:
        np.testing.assert_array_equal(read(source), np.concatenate([first[:], last[:]]))


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


def test_listings_depend_on_names_and_sizes(mixed):
    before = listing_sha256(str(mixed))
    (mixed / "0.png").touch()
    assert listing_sha256(str(mixed)) == before
    (mixed / "0.png").rename(mixed / "00.png")
    assert listing_sha256(str(mixed)) != before
    with pytest.raises(SourceError, match="no such file"):
        listing_sha256(str(mixed / "none::x"))


def test_a_file_that_is_gone_from_a_pattern_is_one_line(tmp_path):
    for name in ("a.tar", "b.tar"):
        tarfile.open(tmp_path / name, "w").close()
    first, second = member_files(str(tmp_path / "*.tar"))
    (tmp_path / "a.tar").unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        listing_sha256(str(tmp_path / "*.tar"), (first, second))
