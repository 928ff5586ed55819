"""Writing archives: the same bytes each time, checks of arguments, whole files or none."""

import errno
import hashlib
import os
import resource
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from helpers.made_up_archives import random_network, random_tokens, write
from smalti.archive.format.layout import crc32c
from smalti.archive.read.reader import open_archive
from smalti.archive.write import assembly, token_spool
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.writer import ArchiveWriter
from smalti.decoders.grid import grid_kind
from smalti.decoders.grid.grid_prior import TokenPrior
from smalti.errors import OutputError, OutputExistsError, UsageError

SPEC = ArchiveSpec((8, 12, 1), (2, 3), 8, "test")


def test_same_input_same_bytes_whatever_the_batches(small, tmp_path):
    arguments = small.tokens, small.network, small.labels, small.names
    fields = {"image_shape": (7, 11, 1), "block_images": 20, "class_names": ("x", "y", "ζ")}
    for batch in (1, 20, 50):
        path = write(tmp_path / f"{batch}.smalti", *arguments, batch=batch, **fields)
        assert path.read_bytes() == small.path.read_bytes()


def test_nothing_but_the_archive_is_left(small):
    assert [path.name for path in small.path.parent.iterdir()] == ["small.smalti"]


def test_the_file_has_ordinary_permissions(small):
    mask = os.umask(0)
    os.umask(mask)
    assert small.path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_an_existing_file_is_refused_before_any_work_and_kept(tmp_path):
    path = tmp_path / "old.smalti"
    path.write_bytes(b"old")
    with pytest.raises(OutputExistsError, match=r"old\.smalti") as caught:
        ArchiveWriter(path, SPEC, random_network())
    assert caught.value.exit_code == 6 and path.read_bytes() == b"old"


def test_overwriting_when_allowed(tmp_path):
    path = tmp_path / "old.smalti"
    path.write_bytes(b"old")
    write(path, random_tokens(3), random_network(), overwrite=True)
    with open_archive(path) as archive:
        assert len(archive) == 3


def test_a_file_that_appears_meanwhile_is_kept(tmp_path):
    path = tmp_path / "late.smalti"
    with ArchiveWriter(path, SPEC, random_network()) as writer:
        writer.append(random_tokens(3))
        path.write_bytes(b"other")
        with pytest.raises(OutputExistsError):
            writer.commit()
    assert path.read_bytes() == b"other" and len(list(tmp_path.iterdir())) == 1


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        ArchiveWriter(tmp_path / "no" / "a.smalti", SPEC, random_network())
    with pytest.raises(OutputError, match="folder"):
        ArchiveWriter(tmp_path, SPEC, random_network(), overwrite=True)
    with pytest.raises(OutputError, match="device"):
        ArchiveWriter("/dev/null", SPEC, random_network(), overwrite=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission"):
        ArchiveWriter(tmp_path / "a.smalti", SPEC, random_network())


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["between", "commit"])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error, where):
    path = tmp_path / "old.smalti"
    path.write_bytes(b"old")

    def fail(*_arguments):
        raise error

    if where == "commit":
        monkeypatch.setattr(assembly, "pack_block", fail)
    with pytest.raises(error), ArchiveWriter(path, SPEC, random_network(), overwrite=True) as writer:
        writer.append(random_tokens(30))
        if where == "between":
            raise error
        writer.commit()
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_leaving_without_commit_writes_nothing(tmp_path):
    with ArchiveWriter(tmp_path / "a.smalti", SPEC, random_network()) as writer:
        writer.append(random_tokens(30))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"a\.smalti.*No space left") as caught:
        write(tmp_path / "a.smalti", random_tokens(5), random_network())
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []


def run_limited(tmp_path, body, **options):
    program = f"""
        import numpy as np
        from pathlib import Path
        from smalti.archive import ArchiveSpec, ArchiveWriter
        from smalti.decoders.layers.integer_network import IntegerNetwork, Layer, PixelTable
        zeros = np.zeros(1, np.int32), np.zeros(1, np.uint8)
        weight, table = np.zeros((8, 4, 4, 1), np.int16), PixelTable(0, zeros[1])
        network = IntegerNetwork((Layer("tokens", weight, *zeros, (4, 4), (0, 0), table),))
        spec = ArchiveSpec((8, 12, 1), (2, 3), 8, "test")
        tokens = np.random.default_rng(0).integers(0, 8, (1000, 2, 3))
        path = Path({str(tmp_path / "a.smalti")!r})
        {body}
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False, **options
    )


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file size and kill signals are POSIX")
def test_a_real_write_error_while_spooling(tmp_path):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))

    body = "w = ArchiveWriter(path, spec, network); w.append(tokens); w.commit()"
    result = run_limited(tmp_path, body, preexec_fn=limit)
    assert "smalti.errors.OutputError" in result.stderr and list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="kill signals are POSIX")
def test_a_kill_leaves_the_old_file(tmp_path):
    (tmp_path / "a.smalti").write_bytes(b"old")
    body = "w = ArchiveWriter(path, spec, network, True); w.append(tokens); import os; os.kill(os.getpid(), 9)"
    assert run_limited(tmp_path, body).returncode == -9
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.smalti", b"old")]


def test_batches_that_do_not_fit(tmp_path):
    tokens, labels = random_tokens(4), np.arange(4)
    bad = {
        "grid": (tokens[:, :1], None, None),
        "flat": (tokens.reshape(4, 6), None, None),
        "float": (tokens.astype(float), None, None),
        "beyond": (tokens + 5, None, None),
        "negative": (tokens - 9, None, None),
        "few labels": (tokens, labels[:3], None),
        "float labels": (tokens, labels * 0.5, None),
        "column of labels": (tokens, labels[:, None], None),
        "few names": (tokens, None, ["a"]),
        "name": (tokens, None, ["a", "b", "c", "\udc80"]),
    }
    for given in bad.values():
        writer = ArchiveWriter(tmp_path / "a.smalti", SPEC, random_network())
        with pytest.raises(UsageError):
            writer.append(*given)
        with pytest.raises(UsageError, match="closed"):
            writer.commit()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("later", [(None, ["a"]), (np.zeros(1, int), None), (None, None)])
def test_labels_and_names_for_all_or_none(tmp_path, later):
    with ArchiveWriter(tmp_path / "a.smalti", SPEC, random_network()) as writer:
        writer.append(random_tokens(1), np.zeros(1, int), ["a"])
        writer.append(random_tokens(0), None, None)
        with pytest.raises(UsageError, match="all images or for none"):
            writer.append(random_tokens(1), *later)


def test_no_images_and_no_second_commit(tmp_path):
    with ArchiveWriter(tmp_path / "a.smalti", SPEC, random_network()) as writer:
        with pytest.raises(UsageError, match="no images"):
            writer.commit()
        writer.append(random_tokens(2))
        writer.commit()
        with pytest.raises(UsageError, match="closed"):
            writer.commit()


def test_specs_that_cannot_be(tmp_path):
    good = {"image_shape": (8, 12, 1), "token_grid": (2, 3), "codebook_size": 8, "profile": "test"}
    for bad in (
        {"image_shape": (8, 12, 5)}, {"image_shape": (0, 12, 1)}, {"token_grid": (0, 3)}, {"token_grid": (2, 1 << 16)},
        {"codebook_size": 1}, {"codebook_size": 65_537}, {"block_images": 0}, {"max_mse": -0.1}, {"max_mse": np.nan},
    ):  # fmt: skip
        with pytest.raises(UsageError):
            ArchiveSpec(**(good | bad))
    for shape in ((9, 12, 1), (8, 13, 1)):
        with pytest.raises(UsageError, match="need more"):
            ArchiveWriter(tmp_path / "a.smalti", ArchiveSpec(**(good | {"image_shape": shape})), random_network())
    with pytest.raises(UsageError):
        ArchiveWriter(tmp_path / "a.smalti", SPEC, random_network(codes=9))
    with pytest.raises(UsageError):
        ArchiveWriter(tmp_path / "a.smalti", SPEC, random_network(channels=3))


def test_blocks_of_large_images_hold_fewer(tmp_path):
    assert ArchiveSpec((28, 28, 1), (7, 7), 128, "test").images_per_block == 1024
    assert ArchiveSpec((512, 512, 3), (7, 7), 128, "test").images_per_block == 85
    assert ArchiveSpec((9000, 9000, 1), (7, 7), 128, "test").images_per_block == 1


def test_what_all_images_need_is_there_twice_and_the_digest_is_that_of_the_pixels(small):
    with open_archive(small.path) as archive:
        file = archive._file
        for section in (1, 3):
            assert file.read(file.entry(section, 0)) == file.read(file.entry(section, 1))
        assert file.read(file.entry(8)) == hashlib.sha256(small.pixels.tobytes()).digest()
        block = archive._store.block(2)
    assert block.pixels_crc == crc32c(small.pixels[40:].tobytes())


def test_dead_codes_are_not_stored(tmp_path):
    tokens = np.where(random_tokens(20) > 3, 5000, 77)
    path = write(tmp_path / "a.smalti", tokens, random_network(codes=65_536))
    assert path.stat().st_size < 5000
    with open_archive(path) as archive:
        assert sorted(set(archive.tokens().ravel().tolist())) == [77, 5000]


def test_counts_that_would_be_too_many_are_pooled(tmp_path, monkeypatch):
    monkeypatch.setattr(grid_kind, "MAX_POSITION_CELLS", 10)
    tokens = np.tile(np.array([[[1, 2, 3], [4, 5, 6]]]), (500, 1, 1))
    with open_archive(write(tmp_path / "a.smalti", tokens, random_network())) as archive:
        assert archive._store.prior.kind == "shared" and (archive.tokens() == tokens).all()


def test_spooled_counts_are_those_of_the_tokens(tmp_path, monkeypatch):
    monkeypatch.setattr(token_spool, "_PIECE_TOKENS", 20)
    tokens = random_tokens(50).reshape(50, 6)
    spool = token_spool.TokenSpool(tmp_path, 6, 8)
    for part in np.split(tokens, [3, 30]):
        spool.append(part)
    counts = spool.position_counts(np.arange(8, dtype=np.uint16), 8)
    assert (counts == np.stack([np.bincount(column, minlength=8) for column in tokens.T])).all()
    assert (counts.sum(axis=0) == spool.counts).all()
    assert TokenPrior.fit(counts[:, 1:7]).codes == 6
    spool.close()
    assert list(tmp_path.iterdir()) == []
