import errno
import os
import resource
import signal
import subprocess
import sys
import tempfile

import pytest

from smalti.errors import OutputError
from smalti.storage.spool import spool_file, spool_folder

posix = pytest.mark.skipif(sys.platform == "win32", reason="permissions, limits and kill signals are POSIX")


def left(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_folder_lies_beside_the_output_and_goes(tmp_path):
    out = tmp_path / "x.smalti"
    with spool_folder(out) as folder:
        assert folder.parent == tmp_path and folder.name.startswith(".x.smalti.") and folder.is_dir()
        (folder / "deep").mkdir()
        (folder / "deep" / "a").write_bytes(b"a")
    assert left(tmp_path) == []


def test_a_folder_goes_when_something_is_raised(tmp_path):
    with pytest.raises(KeyboardInterrupt), spool_folder(tmp_path / "x") as folder:
        (folder / "a").write_bytes(b"a")
        raise KeyboardInterrupt
    assert left(tmp_path) == []


def test_without_an_output_the_system_says_where(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with spool_folder(None) as folder, spool_file(None) as file:
        file.write(b"a")
        assert folder.parent == tmp_path
    assert left(tmp_path) == []


def test_a_link_is_followed(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "x")
    with spool_folder(tmp_path / "link") as folder:
        assert folder.parent == tmp_path / "disk"


@posix
def test_the_next_run_removes_what_a_kill_left(tmp_path):
    out = tmp_path / "x.smalti"
    code = f"""
import os, signal
from pathlib import Path
from smalti.storage.spool import spool_folder
with spool_folder(Path({str(out)!r})) as folder:
    (folder / "a").write_bytes(b"a")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    stale = left(tmp_path)
    assert len(stale) == 1 and stale[0].endswith(".spool")
    with spool_folder(tmp_path / "other"):
        assert stale[0] in left(tmp_path)
    with spool_folder(out) as first, spool_folder(out) as second:
        assert left(tmp_path) == sorted([first.name, second.name])
    assert left(tmp_path) == []


@posix
def test_other_things_with_such_a_name_stay(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / ".x.0123456789ab.spool").symlink_to(tmp_path / "kept")
    (tmp_path / ".x.0123456789ac.spool").write_bytes(b"a")
    with spool_folder(tmp_path / "x"):
        assert (tmp_path / "kept").is_dir()
    assert left(tmp_path) == [".x.0123456789ab.spool", ".x.0123456789ac.spool", "kept"]


def test_a_file_has_no_name_and_reads_what_was_written(tmp_path):
    with spool_file(tmp_path / "x") as file:
        file.write(b"abc" * 100_000)
        file.seek(3)
        assert file.read(6) == b"abcabc"
        if sys.platform != "win32":
            assert left(tmp_path) == []
    assert file.closed and left(tmp_path) == []


@pytest.mark.parametrize("make", [spool_file, lambda beside: spool_folder(beside).__enter__()])
def test_no_such_folder(tmp_path, make):
    with pytest.raises(OutputError, match="make the folder first"):
        make(tmp_path / "none" / "x")


@posix
@pytest.mark.parametrize("beside", [True, False])
def test_a_full_disk(tmp_path, monkeypatch, beside):
    """A limit on the size of files stands for the full disk: in both cases the system refuses the write."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    out = tmp_path / "x"
    file = spool_file(out if beside else None)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
        file.write(bytes(1 << 16))
        file.write(b"a")
        with pytest.raises(OutputError) as error:
            file.flush()
        file.close()  # tries again to write the bytes that could not be written
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    message = str(error.value)
    assert "\n" not in message and os.strerror(errno.EFBIG) in message
    assert message.startswith(f"{out}: ") if beside else "TMPDIR" in message
    assert file.closed
