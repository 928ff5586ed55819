"""A kind of decoder is one object: a third one works in all operations of an archive without other changes."""

import ast
from pathlib import Path

import numpy as np
import pytest

import smalti
from decoders.raw_kind import RawKind, RawNetwork
from helpers.made_up_archives import random_network, random_tokens
from helpers.made_up_archives import write as write_grid
from smalti.archive.edit.edit import append_archive, drop_images, merge_archives, relabel
from smalti.archive.format.layout import Section
from smalti.archive.format.limits import Limits
from smalti.archive.open import open_images
from smalti.archive.read.reader import open_archive
from smalti.archive.read.section_table import find_sections
from smalti.archive.recovery.parity import RecoverySpec
from smalti.archive.recovery.repair import repair_archive
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.writer import ArchiveWriter
from smalti.decoders.kind import KINDS
from smalti.errors import DamagedArchiveError, LimitExceededError, UnsupportedArchiveError, UsageError
from smalti.residual.choice import ResidualEstimator, choose_residuals
from smalti.storage.positioned import file_at

SHAPE = (5, 7, 3)


@pytest.fixture(autouse=True)
def _third_kind(monkeypatch):
    monkeypatch.setitem(KINDS, "raw", RawKind())


def noise(images=250, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (images, *shape), dtype=np.uint8)


def write(path, pixels, prior=None, labels=True, **fields):
    shape = pixels.shape[1:]
    spec = ArchiveSpec(shape, (1, int(np.prod(shape))), 256, "raw", **fields)
    with ArchiveWriter(path, spec, RawNetwork(shape), prior=prior) as writer:
        for start in range(0, len(pixels), 70):
            part = pixels[start : start + 70]
            numbers = np.arange(start, start + len(part)) % 5 if labels else None
            writer.append(part.reshape(len(part), 1, -1).astype(np.int32), numbers, [f"{n}" for n in range(len(part))])
        writer.commit()
    return path


@pytest.fixture(name="path")
def _path(tmp_path):
    return write(tmp_path / "raw.smalti", noise())


def test_pixels_come_back(path):
    pixels = noise()
    with open_archive(path, threads=2) as archive:
        assert np.array_equal(archive[:], pixels) and np.array_equal(archive[[7, 200, 7]], pixels[[7, 200, 7]])
        assert np.array_equal(archive.tokens()[:, 0], pixels.reshape(250, -1))
        info = archive.info()
        assert (info.decoder, info.blocks, info.levels, archive.levels) == ("raw", 3, None, 1)
        assert info.codes_used == 256 and info.bytes.prior == info.bytes.model, "one copy of each"
        assert np.array_equal(archive.preview(3, 1), pixels[3])
        assert archive.verify("pixels").ok


def test_a_release_without_the_kind_refuses_it_by_name(path, monkeypatch):
    monkeypatch.delitem(KINDS, "raw")
    with pytest.raises(UnsupportedArchiveError, match="decoder 'raw'"):
        open_archive(path)


def test_its_own_checks_are_made(tmp_path, path):
    with (
        pytest.raises(UsageError, match="no pixels"),
        ArchiveWriter(
            tmp_path / "b.smalti", ArchiveSpec((1, 1, 1), (1, 1), 256, "raw"), RawNetwork((1, 1, 1))
        ) as writer,
    ):
        writer.append(np.array([[[256]]]))
    with pytest.raises(UsageError, match="need no prior"):
        write(tmp_path / "c.smalti", noise(), prior=object())
    with open_archive(path, Limits(network_operations=104)) as archive, pytest.raises(LimitExceededError):
        _ = archive[0]


def test_images_are_dropped(path, tmp_path):
    kept = np.arange(250) % 3 != 0
    assert drop_images(path, ~kept, tmp_path / "less.smalti") == 166
    with open_archive(tmp_path / "less.smalti") as archive:
        assert np.array_equal(archive[:], noise()[kept]) and archive.verify("pixels").ok
        assert archive.labels.tolist() == (np.arange(250) % 5)[kept].tolist()


def test_archives_are_merged_and_share_the_model(path, tmp_path):
    other, grid = noise(30, (4, 4, 1), 1), tmp_path / "grid.smalti"
    write_grid(grid, random_tokens(20), random_network())
    second = write(tmp_path / "second.smalti", other, labels=False)
    whole = tmp_path / "whole.smalti"
    merge_archives([path, grid, second], whole)
    sections = [entry.section for entry in find_sections(file_at(whole), Limits()).entries]
    assert sections.count(Section.SHARED) == 1 and sections.count(Section.MEMBER) == 3
    assert drop_images(whole, [0, 260, 275], tmp_path / "less.smalti") == 297
    append_archive(whole, second)
    for name, images in (("whole", 330), ("less", 297)):
        with open_images(tmp_path / f"{name}.smalti") as archive:
            assert len(archive) == images and archive.verify("pixels").ok
            assert np.array_equal(archive[249 - (name == "less")], noise()[249])
            assert np.array_equal(archive[images - 1][..., None], other[-1])


def test_labels_are_changed(path):
    relabel(path, labels=np.zeros(250, np.int64))
    with open_archive(path) as archive:
        assert not archive.labels.any() and np.array_equal(archive[:], noise())


def test_a_damaged_archive_is_repaired(tmp_path):
    path = write(tmp_path / "a.smalti", noise(), block_images=50, recovery=RecoverySpec(2, 4))
    whole = path.read_bytes()
    with open_archive(path) as archive:
        entries = {(entry.section, entry.ordinal): entry for entry in archive.sections.entries}
    hit = [entries[key].end - 1 for key in ((Section.MODEL, 0), (Section.TOKENS, 3))]
    path.write_bytes(bytes(byte ^ (position in hit) for position, byte in enumerate(whole))[:-30])  # and the trailer
    with open_archive(path) as archive, pytest.raises(DamagedArchiveError, match="model"):
        _ = archive[0]
    report = repair_archive(path, path, overwrite=True)
    assert report.ok and "model" in report.repaired and path.read_bytes() == whole


def test_an_archive_that_is_no_gain_is_stored_without_its_decoder(tmp_path):
    pixels, tokens = noise(40), noise(40) // 2 * 2
    residuals = choose_residuals(pixels, tokens, 0, ResidualEstimator())
    spec = ArchiveSpec(SHAPE, (1, 105), 256, "raw", max_mse=0.0)
    with ArchiveWriter(tmp_path / "a.smalti", spec, RawNetwork(SHAPE)) as writer:
        writer.append(tokens.reshape(40, 1, -1), residuals=residuals)
        writer.commit()
    with open_archive(tmp_path / "a.smalti") as archive:
        assert np.array_equal(archive[:], pixels) and archive.verify("pixels").ok
        assert archive.info().promise.stored == 40 and archive.info().decoder != "raw"


CLASSES = {"IntegerNetwork", "PyramidNetwork", "TokenPrior", "PyramidPrior", "GridImageModel", "PyramidImageModel"}
ROOT = Path(smalti.__file__).parent
OF_KINDS = ("decoders", "integer", "pyramid", "torch_decoders", "training")


@pytest.mark.parametrize("package", sorted(path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()))
def test_no_layer_above_asks_for_a_kind(package):
    """Layers above compare neither names nor classes of kinds."""
    asks = []
    for path in (ROOT / package).rglob("*.py") if package not in OF_KINDS else ():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and node.value in ("integer", "pyramid"):
                asks.append(f"{path}:{node.lineno}")
            is_check = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance"
            if is_check and CLASSES & {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}:
                asks.append(f"{path}:{node.lineno}")
    assert asks == []
