"""Collections in one file: reading, sharing of models, pickling, damage."""

import pickle
from functools import partial

import numpy as np
import pytest

from helpers.made_up_archives import random_network, random_tokens, write
from smalti.archive.collection.collection_writer import write_collection
from smalti.archive.format.limits import Limits
from smalti.archive.open import open_images
from smalti.archive.read.reader import open_archive
from smalti.archive.read.section_table import find_sections
from smalti.errors import DamagedArchiveError, UnsupportedArchiveError, UsageError
from smalti.storage.positioned import file_at

GRIDS = [(2, 3), (2, 3), (1, 2)]


@pytest.fixture(name="parts")
def _parts(tmp_path):
    """Three archives of one network, with two shapes of images. Each uses other codes."""
    network = random_network(codes=8)
    paths = []
    for number, grid in enumerate(GRIDS):
        tokens = random_tokens(9, grid, seed=number)[:, :, :] % (4 + number)
        labels = np.arange(9) % 3
        names = [f"{number}/{image}.png" for image in range(9)]
        paths.append(write(tmp_path / f"{number}.smalti", tokens, network, labels, names, block_images=4))
    return paths


def collected(tmp_path, parts, name="all.smalti"):
    out = tmp_path / name
    write_collection(out, [partial(open_archive, path) for path in parts])
    return out


def test_images_come_back_as_from_the_archives(tmp_path, parts):
    with open_images(collected(tmp_path, parts)) as whole:
        assert len(whole) == 27 and whole.image_shapes == ((8, 12, 1), (4, 8, 1)) and not whole.damage
        images = whole.images(slice(None))
        for number, path in enumerate(parts):
            with open_archive(path) as alone:
                assert all(map(np.array_equal, images[9 * number : 9 * number + 9], alone))
                assert np.array_equal(whole.members[number].tokens(), alone.tokens())
        assert np.array_equal(whole[3], images[3]) and np.array_equal(whole[-1], images[-1])
        assert np.array_equal(whole[[10, 2, 10]], np.stack([images[10], images[2], images[10]]))
        assert [image.shape for image in whole] == [image.shape for image in images]
        assert whole.labels.tolist() == [0, 1, 2] * 9 and whole.names[9] == "1/0.png"
        assert whole.verify("pixels").ok


def test_images_of_several_shapes_make_no_array(tmp_path, parts):
    with open_images(collected(tmp_path, parts)) as whole:
        with pytest.raises(UsageError, match="images"):
            whole[[0, 20]]
        with pytest.raises(UsageError, match="several shapes"):
            _ = whole.shape


def test_a_model_is_stored_once(tmp_path, parts):
    together = collected(tmp_path, parts)
    with open_images(together) as whole:
        model = whole.info().bytes.model
    singles = []
    for path in parts:
        with open_archive(path) as alone:
            singles.append(alone.info().bytes.model)
    assert model < 1.6 * max(singles) < sum(singles)
    assert together.stat().st_size < sum(path.stat().st_size for path in parts)


def test_bytes_sum_up(tmp_path, parts):
    path = collected(tmp_path, parts)
    with open_images(path) as whole:
        info = whole.info()
        assert sum(vars(info.bytes).values()) == info.archive_bytes == path.stat().st_size
        assert info.images == 27 and info.shape is None and len(info.members) == 3


def test_batches_are_numbered_through(tmp_path, parts):
    with open_images(collected(tmp_path, parts)) as whole:
        batches = list(whole.batches(5, start=7, stop=20))
        assert [number for batch in batches for number in batch.numbers.tolist()] == list(range(7, 20))
        assert [name for batch in batches for name in batch.names] == list(whole.names[7:20])


def test_a_collection_of_collections_is_flat(tmp_path, parts):
    first = collected(tmp_path, parts[:2], "first.smalti")
    second = tmp_path / "second.smalti"
    with open_images(first) as whole:
        members = [partial(_member, first, number) for number in range(len(whole.members))]
    write_collection(second, [*members, partial(open_archive, parts[2])])
    assert second.read_bytes() == collected(tmp_path, parts, "direct.smalti").read_bytes()


def _member(path, number):
    return open_images(path).members[number]


def test_it_is_pickled_as_an_order_to_open_it(tmp_path, parts):
    with open_images(collected(tmp_path, parts)) as whole, pickle.loads(pickle.dumps(whole)) as again:
        assert np.array_equal(again[5], whole[5])
    with open_images(collected(tmp_path, parts, "b.smalti")) as whole:
        member = pickle.loads(pickle.dumps(whole.members[1]))
        assert np.array_equal(member[5], whole[14])


def test_a_member_alone_says_where_its_model_is(tmp_path, parts):
    with open_images(collected(tmp_path, parts)) as whole:
        window = whole.members[1].sections.source
        alone = tmp_path / "alone.smalti"
        alone.write_bytes(window.read(0, window.size_bytes))
    with open_archive(alone) as archive, pytest.raises(UnsupportedArchiveError, match="collection"):
        archive[0]


PARTS = ["trailer", "index", "directory", "prelude", "member", "shared", "trailer and member"]


@pytest.mark.parametrize("part", PARTS)
def test_damage_costs_what_it_hits(tmp_path, parts, part):
    path = collected(tmp_path, parts)
    with open_images(path) as whole:
        images = whole.images(slice(None))
    entries = {entry.name: entry for entry in find_sections(file_at(path), Limits()).entries}
    data = bytearray(path.read_bytes())
    places = {
        "trailer": len(data) - 20,
        "index": len(data) - 40,
        "directory": entries["directory"].offset + 40,
        "prelude": 12,
        "member": entries["member 1"].offset + entries["member 1"].frame_bytes // 2,
        "shared": entries["shared 0"].offset + 60,
    }
    for place in part.split(" and "):
        data[places[place]] ^= 0x10
    path.write_bytes(data)
    with open_images(path) as whole:
        assert not whole.verify().ok
        if part == "shared":
            with pytest.raises(DamagedArchiveError):
                whole[0]
            return
        sound = [*range(9), *range(18, 27)] if "member" in part else range(27)
        assert all(np.array_equal(whole[number], images[number]) for number in sound)


def test_every_flipped_byte_is_noticed(tmp_path, parts):
    path = collected(tmp_path, parts)
    whole = path.read_bytes()
    for place in range(0, len(whole), 41):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x81]) + whole[place + 1 :])
        try:
            with open_images(path) as opened:
                assert not opened.verify().ok, place
        except (DamagedArchiveError, UnsupportedArchiveError):
            pass  # noticed on opening
