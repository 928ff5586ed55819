"""Commands on damaged archives."""

import numpy as np
import pytest
from PIL import Image

from helpers.command_line import names
from smalti.archive.read.reader import open_archive
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.writer import ArchiveWriter
from smalti.decoders.layers.integer_network import IntegerNetwork, Layer, PixelTable


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    """Thirty images of 4x4 in three blocks, with labels and names."""
    rng = np.random.default_rng(0)
    weight = rng.integers(0, 256, (8, 4, 4, 1)).astype(np.int16)
    zeros, table = (np.zeros(1, np.int32), np.zeros(1, np.uint8)), PixelTable(0, np.arange(256, dtype=np.uint8))
    network = IntegerNetwork((Layer("tokens", weight, *zeros, (4, 4), (0, 0), table),))
    path = tmp_path_factory.mktemp("blocks") / "blocks.smalti"
    with ArchiveWriter(path, ArchiveSpec((4, 4, 1), (1, 1), 8, "test", block_images=10), network) as writer:
        writer.append(rng.integers(0, 8, (30, 1, 1)), np.arange(30) % 3, [f"photo {i}.png" for i in range(30)])
        writer.commit()
    return path


@pytest.fixture
def damage(blocks, tmp_path):
    """Damage a section, or cut bytes off the end. Returns the path of the copy."""

    def make(name=None, cut=0):
        data = bytearray(blocks.read_bytes())
        if name is not None:
            with open_archive(blocks) as archive:
                data[next(entry.end for entry in archive._file.entries if entry.name == name) - 1] ^= 1
        path = tmp_path / "damaged.smalti"
        path.write_bytes(data[: len(data) - cut])
        return path

    return make


def test_a_lost_block_ends_with_4_and_writes_nothing(smalti, damage, tmp_path):
    path = damage("token block 1")
    told = smalti("test", path, "--json", "--threads", 1)
    assert told.code == 4 and told.json["ok"] is False and told.json["damaged_images"] == 10
    block = told.json["damaged_blocks"][0]
    assert (block["block"], block["first_image"], block["images"]) == (1, 10, 10) and "checksum" in block["reason"]
    assert block["names"] == [f"photo {i}.png" for i in range(10, 20)]
    ran = smalti("test", path, "--threads", 1)
    assert ran.code == 4 and "block 1 (images 10 to 19, photo 10.png to photo 19.png)" in ran.err
    assert ran.err.startswith(f"smalti: {path}: damaged: ") and ran.err.count("\n") == 1
    for command in (["decompress", path, "-o"], ["get", path, 12, "-o"]):
        for out in ("out", "out.npy"):
            assert "token block 1 (images 10 to 19)" in smalti.fails(4, *command, tmp_path / out, "--threads", 1)
    assert smalti("get", path, 9, 20, "-o", tmp_path / "some", "--threads", 1).code == 0
    assert names(tmp_path / "some") == ["metadata.jsonl", "photo 20.png", "photo 9.png"]


def test_what_can_be_read_is_written_and_the_rest_is_listed(smalti, damage, blocks, tmp_path):
    path, out = damage("token block 1"), tmp_path / "out"
    ran = smalti("decompress", path, "-o", out, "--skip-damaged", "--threads", 1)
    assert ran.code == 4 and ran.err.count("\n") == 1 and "10 images are missing" in ran.err
    lines = ran.out.splitlines()
    assert lines[0] == f"{out}: 20 images"
    assert lines[1:] == [f"missing: image {i}  photo {i}.png" for i in range(10, 20)]
    readable = [*range(10), *range(20, 30)]
    assert names(out) == ["metadata.jsonl", *sorted(f"photo {i}.png" for i in readable)]
    with open_archive(blocks) as archive:
        np.testing.assert_array_equal(np.asarray(Image.open(out / "photo 25.png")), archive[25])
        told = smalti("decompress", path, "-o", tmp_path / "a.npy", "--skip-damaged", "--json", "--threads", 1)
        np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), archive[readable])
        np.testing.assert_array_equal(np.load(tmp_path / "a.labels.npy"), archive.labels[readable])
    assert told.code == 4 and told.json["images"] == 20 and told.json["missing_images"] == list(range(10, 20))
    assert told.json["missing_blocks"][0]["names"][0] == "photo 10.png" and told.json["lost_columns"] == []


def test_get_lists_only_what_was_asked_for(smalti, damage, tmp_path):
    path = damage("token block 1")
    ran = smalti("get", path, 25, 12, 3, 12, "-o", tmp_path / "out", "--skip-damaged", "--threads", 1)
    assert ran.code == 4 and ran.out.splitlines()[1:] == ["missing: image 12  photo 12.png"]
    assert names(tmp_path / "out") == ["metadata.jsonl", "photo 25.png", "photo 3.png"]
    ran = smalti("get", path, 25, "-o", tmp_path / "whole", "--skip-damaged", "--json", "--threads", 1)
    assert ran.code == 0 and ran.json["missing_images"] == ran.json["missing_blocks"] == []


def test_lost_names_give_numbers_of_the_archive(smalti, damage, tmp_path):
    path = damage("column 1")
    assert "column 1" in smalti.fails(4, "decompress", path, "-o", tmp_path / "out", "--threads", 1)
    ran = smalti("decompress", path, "-o", tmp_path / "out", "--skip-damaged", "--threads", 1)
    assert ran.code == 4 and "lost: names" in ran.err and ran.out.count("\n") == 1
    assert names(tmp_path / "out") == [*sorted(f"{i % 3}/{i:06}.png" for i in range(30)), "metadata.jsonl"]
    assert smalti("info", path, "--json").json["columns"] == ["labels", "names"]


def test_a_lost_end_costs_a_warning(smalti, damage, blocks, tmp_path):
    path = damage(cut=40)
    ran = smalti("decompress", path, "-o", tmp_path / "out", "--threads", 1)
    assert ran.code == 0 and len(names(tmp_path / "out")) == 31  # and metadata.jsonl, with labels
    assert "found by scanning" in ran.err and ran.err.count("\n") == 1
    ran = smalti("info", path, "--json")
    assert ran.code == 0 and ran.json["damage"] and sum(ran.json["bytes"].values()) == path.stat().st_size
    assert smalti("test", path, "-q").code == smalti("test", path, "--quick", "-q").code == 4
    assert "no image is lost" in smalti("test", path, "-q").err


def test_half_a_file_keeps_its_first_blocks(smalti, damage, tmp_path):
    with open_archive(damage()) as archive:
        file = archive._file
        cut = file.archive_bytes - file.entry(4, 2).offset - 5
    path = damage(cut=cut)
    ran = smalti("decompress", path, "-o", tmp_path / "out", "--skip-damaged", "--threads", 1)
    assert ran.code == 4 and ran.out.splitlines()[1:] == [f"missing: image {i}" for i in range(20, 30)]
    assert names(tmp_path / "out") == [f"{i:06}.png" for i in range(20)]


def test_a_lost_model_is_fatal(smalti, damage, tmp_path):
    path = damage("model")
    told = smalti("test", path, "--json").json
    assert told["damaged_images"] == 30 and "no image can be decoded without it" in told["damaged_sections"][-1]
    for options in ([], ["--skip-damaged"]):
        line = smalti.fails(4, "decompress", path, "-o", tmp_path / "out", *options)
        assert "model: wrong checksum; no image can be decoded without it: get the file again" in line
    assert names(tmp_path) == ["damaged.smalti"]


def test_images_without_names_keep_their_numbers(smalti, blocks, tmp_path):
    """A missing image leaves a gap; the names of the others do not shift."""
    with open_archive(blocks) as archive:
        network, tokens = archive._store.model.network, archive._store.block(0).indices
    path = tmp_path / "plain.smalti"
    spec = ArchiveSpec((4, 4, 1), (1, 1), network.codes, "test", block_images=4)
    with ArchiveWriter(path, spec, network) as writer:
        writer.append(tokens.reshape(10, 1, 1))
        writer.commit()
    with open_archive(path) as archive:
        place = archive._file.entry(4, 0).end - 1
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    smalti("decompress", path, "-o", tmp_path / "out", "--skip-damaged", "--threads", 1)
    assert names(tmp_path / "out") == [f"{i:06}.png" for i in range(4, 10)]
