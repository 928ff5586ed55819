"""Merging, appending, dropping and relabeling archives and collections."""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from archive.test_pyramid import made_up
from archive.test_residuals import near, write_promised
from helpers.made_up_archives import random_network, random_tokens, write
from smalti.archive.collection.collection_writer import write_collection
from smalti.archive.edit.edit import append_archive, drop_images, merge_archives, relabel, write_manifest
from smalti.archive.open import open_images
from smalti.archive.read.reader import open_archive
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.writer import ArchiveWriter
from smalti.errors import DamagedArchiveError, ImageIndexError, OutputExistsError, UsageError

NETWORK = random_network(codes=8)
NAMES = [f"{number:02}.png" for number in range(20)]
FIELDS = {"age": [*range(19), None], "site": ["a", "b"] * 10}


@pytest.fixture(name="path")
def _path(tmp_path):
    spec = ArchiveSpec((8, 12, 1), (2, 3), 8, "test", block_images=6, class_names=("x", "y", "z"))
    with ArchiveWriter(tmp_path / "a.smalti", spec, NETWORK) as writer:
        writer.append(random_tokens(20), np.arange(20) % 3, NAMES, fields=FIELDS)
        writer.commit()
    return tmp_path / "a.smalti"


def contents(path):
    with open_images(path) as opened:
        assert opened.verify("pixels").ok
        return list(opened), opened.labels, opened.class_names, opened.names, dict(opened.fields)


def test_dropped_images_are_gone_and_the_rest_is_what_it_was(path):
    images, labels, classes, names, fields = contents(path)
    left = [number for number in range(20) if number not in (0, 7, 19)]
    assert drop_images(path, [0, 7, -1]) == 17
    now = contents(path)
    assert all(map(np.array_equal, now[0], [images[number] for number in left])) and len(now[0]) == 17
    assert now[1].tolist() == labels[left].tolist() and now[2] == classes and now[3] == tuple(np.array(names)[left])
    assert now[4]["site"] == tuple(np.array(fields["site"])[left]) and now[4]["age"].tolist() == left
    assert b"19.png" not in path.read_bytes()


def test_parts_are_written_beside_the_output_and_not_in_the_systems_temporary_folder(path, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "full"))
    stale = tmp_path / ".a.smalti.0123456789ab.spool"  # of a killed run
    stale.mkdir()
    assert drop_images(path, [0]) == 19
    relabel(path, names=[f"new{number}.png" for number in range(19)])
    assert contents(path)[3][0] == "new0.png" and [each.name for each in tmp_path.iterdir()] == ["a.smalti"]


def test_to_drop_from_a_pyramid_and_from_a_promise(tmp_path):
    pyramid = made_up(tmp_path / "p.smalti", 3, 30, block_images=8)
    tokens = random_tokens(40)
    promised = tmp_path / "c.smalti"
    write_promised(promised, tokens, near(NETWORK, tokens, (7, 11)), NETWORK, 0.002, block_images=9)
    lossless = tmp_path / "l.smalti"
    write_promised(lossless, tokens, np.random.default_rng(0).integers(0, 256, (40, 7, 11, 1), np.uint8), NETWORK, 0.0)
    for path in (pyramid.path, promised, lossless):
        images = contents(path)[0]
        assert drop_images(path, slice(3, 15)) == len(images) - 12
        assert all(map(np.array_equal, contents(path)[0], images[:3] + images[15:]))
        with open_archive(path) as archive:
            promise = archive.info().promise
            assert promise is None or promise.corrected + promise.stored > 0


def test_to_drop_from_a_collection(tmp_path, path):
    other = write(tmp_path / "b.smalti", random_tokens(9, (1, 2)), NETWORK)
    both = tmp_path / "both.smalti"
    merge_archives([path, other], both)
    before = both.read_bytes()
    images = contents(both)[0]
    assert drop_images(both, [2, 22], tmp_path / "fewer.smalti") == 27 and both.read_bytes() == before
    left = [image for number, image in enumerate(images) if number not in (2, 22)]
    assert all(map(np.array_equal, contents(tmp_path / "fewer.smalti")[0], left))
    assert drop_images(both, slice(20, None)) == 20
    with open_archive(both) as alone:  # what is left of a collection of one is an archive
        assert len(alone) == 20


def test_nothing_is_changed_by_what_cannot_be(path, tmp_path):
    before = path.read_bytes()
    with pytest.raises(UsageError, match="no image would be left"):
        drop_images(path, slice(None))
    with pytest.raises(ImageIndexError):
        drop_images(path, [20])
    with pytest.raises(UsageError, match="19 values of labels for 20"):
        relabel(path, labels=np.zeros(19, np.int64))
    with pytest.raises(OutputExistsError):
        drop_images(path, [0], path)
    assert path.read_bytes() == before
    damaged = bytearray(before)
    damaged[len(before) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DamagedArchiveError, match="checksum"):
        relabel(path, labels=np.zeros(20, np.int64))
    assert path.read_bytes() == damaged and sorted(file.name for file in tmp_path.iterdir()) == ["a.smalti"]


def test_relabelled_images_keep_their_blocks(path):
    images, labels, _, names, _ = contents(path)
    new = labels[::-1].copy()
    relabel(path, labels=new, fields={"age": None, "weight": [0.5] * 20})
    now = contents(path)
    assert all(map(np.array_equal, now[0], images)) and now[1].tolist() == new.tolist() and now[3] == names
    assert set(now[4]) == {"site", "weight"} and now[2] == ("x", "y", "z")


def test_to_relabel_a_collection(tmp_path, path):
    other = write(tmp_path / "b.smalti", random_tokens(9), NETWORK, np.arange(9) % 2)
    merge_archives([path, other], tmp_path / "both.smalti")
    relabel(tmp_path / "both.smalti", labels=np.arange(29), class_names=[f"c{number}" for number in range(29)])
    images, labels, classes, *_ = contents(tmp_path / "both.smalti")
    assert labels.tolist() == list(range(29)) and len(classes) == 29
    assert all(map(np.array_equal, images, [*contents(path)[0], *contents(other)[0]]))


def test_classes_of_merged_archives_are_numbered_by_name(tmp_path, path):
    spec = ArchiveSpec((8, 12, 1), (2, 3), 8, "test", class_names=("z", "new"))
    with ArchiveWriter(tmp_path / "b.smalti", spec, NETWORK) as writer:
        writer.append(random_tokens(4), np.array([0, 1, 1, 0]), NAMES[:4], fields={"site": list("abcd")})
        writer.commit()
    append_archive(path, tmp_path / "b.smalti")
    _, labels, classes, names, fields = contents(path)
    assert classes == ("x", "y", "z", "new") and labels[20:].tolist() == [2, 3, 3, 2] and len(names) == 24
    assert fields["age"][18:] == (18, None, None, None, None, None) and fields["site"][20:] == tuple("abcd")


def test_recovery_data_follow_an_edit(tmp_path):
    pytest.importorskip("reedsolo")
    from smalti.archive.recovery.parity import RecoverySpec  # noqa: PLC0415
    from smalti.archive.recovery.repair import repair_archive  # noqa: PLC0415

    recovery = RecoverySpec.parse("1/4")
    path = write(tmp_path / "a.smalti", random_tokens(60), NETWORK, np.arange(60), block_images=8, recovery=recovery)
    for edit in (partial(drop_images, path, [3]), partial(relabel, path, labels=np.arange(59))):
        edit()
        data = bytearray(path.read_bytes())
        with open_archive(path) as archive:
            assert archive.info().recovery_bytes
            place = archive.sections.entry(4, 2).offset + 40
        data[place] ^= 1
        (tmp_path / "damaged.smalti").write_bytes(data)
        repair_archive(tmp_path / "damaged.smalti", tmp_path / "sound.smalti", overwrite=True)
        assert (tmp_path / "sound.smalti").read_bytes() == path.read_bytes()


def test_a_manifest_lists_archives_that_stay_where_they_are(tmp_path, path):
    (tmp_path / "parts").mkdir()
    other = write(tmp_path / "parts" / "b.smalti", random_tokens(9), NETWORK)
    manifest = tmp_path / "all.smalti-manifest"
    write_manifest([path, other], manifest)
    with open_images(manifest) as whole:
        assert len(whole) == 29 and whole.shape == (29, 8, 12)
        assert np.array_equal(whole[:], np.stack([*contents(path)[0], *contents(other)[0]]))
        assert whole.info().archive_bytes == path.stat().st_size + other.stat().st_size
    with pytest.raises(UsageError, match="manifest"):
        drop_images(manifest, [0])
    with pytest.raises(UsageError, match="not in the folder"):
        write_manifest([path], tmp_path / "parts" / "x.smalti-manifest")
    merge_archives([manifest], tmp_path / "flat.smalti")
    assert len(contents(tmp_path / "flat.smalti")[0]) == 29
    other.write_bytes(path.read_bytes())
    with open_images(manifest) as whole, pytest.raises(DamagedArchiveError, match="manifest"):
        whole[25]


@pytest.mark.parametrize("place", ["../a.smalti", "/a.smalti", "x/../../a.smalti", "C:a.smalti", "..\\\\a.smalti"])
def test_a_manifest_leads_nowhere_else(tmp_path, path, place):
    manifest = tmp_path / "all.smalti-manifest"
    write_manifest([path], manifest)
    manifest.write_bytes(manifest.read_bytes().replace(b'"a.smalti"', b'"' + place.encode() + b'"'))
    with pytest.raises(DamagedArchiveError, match="inside the folder"):
        open_images(manifest)


def test_more_members_than_may_be_open_at_once(tmp_path, path):
    many = tmp_path / "many.smalti"
    write_collection(many, [partial(open_archive, path)] * 130)
    with open_images(many) as whole:
        assert len(whole) == 2600
        assert np.array_equal(whole[np.arange(0, 2600, 20)], np.repeat(whole[[0]], 130, 0))


def test_a_lost_column_of_a_member_is_left_out(tmp_path, path):
    merge_archives(
        [path, write(tmp_path / "b.smalti", random_tokens(9), NETWORK, np.arange(9), NAMES[:9])], path, overwrite=True
    )
    data = bytearray(path.read_bytes())
    with open_images(path) as whole:
        window = whole.members[1].sections
        entry = window.entry(5, 0)  # labels
        start = data.index(window.source.read(entry.offset, entry.frame_bytes))
    data[start + entry.frame_bytes - 1] ^= 1
    path.write_bytes(data)
    with open_images(path) as whole:
        assert whole.lost_columns == ("labels",)
        with pytest.raises(DamagedArchiveError):
            list(whole.batches(50))
        batches = list(whole.batches(50, on_error="skip"))
        assert [len(batch) for batch in batches] == [20, 9] and all(batch.labels is None for batch in batches)
        assert batches[1].names == tuple(NAMES[:9])


def test_to_relabel_keeps_what_only_some_members_have(tmp_path, path):
    merge_archives([path, write(tmp_path / "b.smalti", random_tokens(9), NETWORK, np.arange(9))], path, overwrite=True)
    relabel(path, labels=np.arange(29))
    with open_images(path) as whole:
        assert (
            whole.names[:2] == ("00.png", "01.png")
            and whole.names[20:] == (None,) * 9
            and whole.labels.tolist() == list(range(29))
        )
        assert whole.members[0].names == tuple(NAMES) and whole.members[1].names is None
        assert whole.fields["site"] == (*FIELDS["site"], *[None] * 9) and whole.members[0].class_names == (
            "x",
            "y",
            "z",
        )


def open_files():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system does not list a process's open files")
def test_files_of_a_manifest_are_not_kept_open_beyond_need(tmp_path):
    parts = [write(tmp_path / f"{number:03}.smalti", random_tokens(2), NETWORK) for number in range(100)]
    write_manifest(parts, tmp_path / "all.smalti-manifest")
    before = open_files()
    with open_images(tmp_path / "all.smalti-manifest") as whole:
        assert len(list(whole)) == 200 and open_files() <= before + 65
    assert open_files() <= before + 1


def test_merging_to_the_name_of_a_manifest_makes_one(tmp_path, path):
    """Before: the output had the bytes of a collection under a manifest's name, and nothing could open it."""
    other = write(tmp_path / "b.smalti", random_tokens(9), NETWORK)
    merge_archives([path, other], tmp_path / "all.smalti-manifest")
    assert (tmp_path / "all.smalti-manifest").stat().st_size < 1000
    with open_images(tmp_path / "all.smalti-manifest") as whole:
        assert len(whole) == 29 and whole.verify("pixels").ok
    with pytest.raises(OutputExistsError):
        merge_archives([path], tmp_path / "all.smalti-manifest")
