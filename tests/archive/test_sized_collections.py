"""Archives of images of any sizes in collections and manifests, and changed by the edits."""

import numpy as np
import pytest

from decoders.cell_kind import CELLS
from helpers.damaged_files import flip, sections
from helpers.made_up_archives import random_network, random_tokens, write
from helpers.sized_archives import SIZES, random_images, write_sized
from smalti.archive.collection.directory import read_directory, read_manifest
from smalti.archive.edit.edit import append_archive, drop_images, merge_archives, relabel, write_manifest
from smalti.archive.format.layout import COLLECTION, SIZED, Section
from smalti.archive.open import open_images
from smalti.archive.read.reader import open_archive
from smalti.archive.recovery.parity import RecoverySpec
from smalti.decoders.kind import CELL_KINDS
from smalti.errors import DamagedArchiveError, UnsupportedArchiveError, UsageError


@pytest.fixture(scope="module", autouse=True)
def known_kind():
    CELL_KINDS["cells"] = CELLS
    yield
    del CELL_KINDS["cells"]


def same(found, expected):
    return np.array_equal(found, expected[..., 0] if expected.shape[2] == 1 else expected)


@pytest.fixture
def three(tmp_path):
    """Grey, RGB and grey images again: the files, and all decoded images in order."""
    grey = write_sized(tmp_path / "grey.smalti", random_images(), np.arange(10), [f"g{n}.png" for n in range(10)])
    colour = write_sized(tmp_path / "colour.smalti", random_images(SIZES[:4], 3, seed=2), np.arange(4))
    more = write_sized(tmp_path / "more.smalti", random_images(SIZES[::-1], seed=3))
    parts = [grey, colour, more]
    return [part.path for part in parts], [image for part in parts for image in part.pixels]


def assert_whole(path, images):
    with open_images(path) as opened:
        assert len(opened) == len(images)
        assert all(map(same, opened.images(slice(None)), images))
        assert all(same(opened[number], image) for number, image in enumerate(images))
        assert all(map(same, opened, images))
        assert opened.image_shapes == tuple(dict.fromkeys(image.shape for image in images))
        assert [opened.shape_of(number) for number in range(len(images))] == [image.shape for image in images]
        assert all(opened.verify(level).ok for level in ("quick", "tokens", "pixels"))
        assert (
            opened.info().images == len(images) and opened.info().pixels if hasattr(opened.info(), "pixels") else True
        )
        numbers = []
        for batch in opened.batches(3):
            assert (batch.pixels == [images[number] for number in batch.numbers]).all()
            numbers += batch.numbers.tolist()
        assert numbers == list(range(len(images)))
        bounds = opened.block_bounds
        assert bounds[0] == 0 and bounds[-1] == len(images) and (np.diff(bounds) > 0).all()


def test_a_collection_of_three(three, tmp_path):
    paths, images = three
    merge_archives(paths, out := tmp_path / "all.smalti")
    assert_whole(out, images)
    assert out.read_bytes()[12:16] == (COLLECTION | SIZED).to_bytes(4, "little")
    kinds = [entry.section for entry, _ in sections(out)]
    assert kinds.count(Section.SHARED) == 2  # the model of the grey archives, and the prior of two
    with open_images(out) as opened:
        info = opened.info()
        assert info.shape is None and [member.shape for member in info.members] == [None] * 3
        assert sum(vars(info.bytes).values()) == info.archive_bytes == out.stat().st_size
        assert same(opened.region(11, (0, 1), (10, 40)), images[11][0:1, 10:40])
        assert same(opened.region(-1, slice(0, 1), slice(0, 1)), images[-1])
        assert opened[[1, 1]].shape == (2, 1, 50)
        with pytest.raises(UsageError, match="several shapes"):
            _ = opened[:]
        with pytest.raises(UsageError, match="several shapes"):
            _ = opened.shape
        assert opened.labels.tolist() == [*range(10), *range(4), *[-1] * 10]
        assert opened.names[3] == "g3.png" and opened.names[20] is None
    with pytest.raises(UnsupportedArchiveError, match="collection"):
        open_archive(out)


def test_a_collection_of_both_forms(three, tmp_path):
    paths, images = three
    tokens = random_tokens(6)
    fixed = write(tmp_path / "fixed.smalti", tokens, random_network(), block_images=4)
    with open_images(fixed) as opened:
        own = opened[:].reshape(6, *opened.image_shape)
    merge_archives([fixed, paths[1]], out := tmp_path / "all.smalti")
    assert_whole(out, [*own, *images[10:14]])


def test_damage_to_the_directory_is_overcome(three, tmp_path):
    paths, images = three
    merge_archives(paths, out := tmp_path / "all.smalti")
    entry = next(entry for entry, _ in sections(out) if entry.section == Section.DIRECTORY)
    out.write_bytes(flip(out.read_bytes(), entry.end - 5))
    with open_images(out) as opened:
        assert "directory: wrong checksum" in opened.damage[0]
        assert all(map(same, opened.images(slice(None)), images))


def test_a_manifest_of_three(three, tmp_path):
    paths, images = three
    write_manifest(paths, out := tmp_path / "all.smalti-manifest")
    assert_whole(out, images)
    assert b'"any_size":true' in out.read_bytes() and b'"version":2' in out.read_bytes()
    for old, new in ((b'"version":2', b'"version":1'), (b'"any_size":true', b'"any_size":false')):
        with pytest.raises(DamagedArchiveError):
            read_manifest(out.read_bytes().replace(old, new))
    with pytest.raises(UnsupportedArchiveError, match="version 3"):
        read_manifest(out.read_bytes().replace(b'"version":2', b'"version":3'))


def test_a_directory_states_the_feature_that_its_members_need(three, tmp_path):
    merge_archives(three[0], out := tmp_path / "all.smalti")
    payload = next(payload for entry, payload in sections(out) if entry.section == Section.DIRECTORY)
    assert [facts.any_size for facts in read_directory(payload)] == [True] * 3
    for old, new in ((b'"required_features":9', b'"required_features":1'), (b'"any_size":true,', b"")):
        with pytest.raises(DamagedArchiveError):
            read_directory(payload.replace(old, new))


def test_a_member_that_is_not_as_listed_is_refused(three, tmp_path):
    paths, _ = three
    write_manifest(paths, out := tmp_path / "all.smalti-manifest")
    out.write_bytes(out.read_bytes().replace(b'"image_shape":[120,100,1]', b'"image_shape":[121,100,1]', 1))
    with open_images(out) as opened, pytest.raises(DamagedArchiveError, match="not the archive"):
        opened.images([0])


def test_images_are_appended_and_dropped(three, tmp_path):
    paths, images = three
    append_archive(paths[0], paths[1])
    assert_whole(paths[0], images[:14])
    dropped = [0, 4, 11, 13]
    kept = [number for number in range(14) if number not in dropped]
    assert drop_images(paths[0], dropped) == 10
    assert_whole(paths[0], [images[number] for number in kept])
    with open_images(paths[0]) as opened:
        assert opened.labels.tolist() == [*(number for number in kept if number < 10), 0, 2]
    assert drop_images(paths[0], [8, 9]) == 8
    with open_images(paths[0]) as opened:
        assert all(map(same, opened.images(slice(None)), [images[number] for number in kept if number < 10]))


def test_dropped_images_leave_the_archive_that_the_others_make(tmp_path):
    images, recovery = random_images(), RecoverySpec(1, 4)
    names = [f"{number}.png" for number in range(10)]
    made = write_sized(tmp_path / "a.smalti", images, names=names, recovery=recovery)
    drop_images(made.path, [2, 4, 7])
    kept = [number for number in range(10) if number not in (2, 4, 7)]
    own = [images[number] for number in kept]
    again = write_sized(tmp_path / "b.smalti", own, names=[names[number] for number in kept], recovery=recovery)
    assert made.path.read_bytes() == again.path.read_bytes()


def test_labels_and_fields_are_replaced(three):
    paths, images = three
    relabel(paths[0], labels=np.arange(10) % 2, class_names=("a", "b"), fields={"size": [float(n) for n in range(10)]})
    assert_whole(paths[0], images[:10])
    with open_images(paths[0]) as opened:
        assert opened.labels.tolist() == [0, 1] * 5 and opened.class_names == ("a", "b")
        assert opened.fields["size"][3] == 3.0 and opened.names[9] == "g9.png"
