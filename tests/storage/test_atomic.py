import errno
import itertools
import os
import random
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from smalti.errors import OutputError, OutputExistsError
from smalti.storage import atomic
from smalti.storage.atomic import atomic_file, check_output, partial_path, writing

POSIX = sys.platform != "win32"
ROOT = POSIX and os.geteuid() == 0
posix = pytest.mark.skipif(not POSIX, reason="permissions, limits and kill signals are POSIX")


@pytest.fixture(params=["nameless", "hidden", "no links", "no /proc"])
def any_system(request, monkeypatch):
    """Linux with nameless files, a system without them, one without links, and one that cannot name them later."""
    if request.param == "nameless" and sys.platform != "linux":
        pytest.skip("only Linux has files without a name")
    if request.param in ("hidden", "no links"):
        monkeypatch.setattr(atomic, "_open_nameless", lambda folder: None)
    link = os.link

    def refuse(source, target, **options):
        if request.param == "no links" or str(source).startswith("/proc/"):
            raise OSError(errno.EPERM, "Operation not permitted")
        link(source, target, **options)

    if request.param in ("no links", "no /proc"):
        monkeypatch.setattr(os, "link", refuse)
    return request.param


def put(path, data, overwrite=False):
    with atomic_file(path, overwrite=overwrite) as file, writing(path):
        file.write(data)


def left(folder):
    return sorted(entry.name for entry in folder.iterdir())


def one_line(error, *parts):
    line = str(error.value)
    assert "\n" not in line and all(part in line for part in parts), line
    return True


def test_a_new_file_and_a_replaced_one(tmp_path, any_system):
    path = tmp_path / "a"
    put(path, b"one")
    with pytest.raises(OutputExistsError) as error:
        put(path, b"two")
    assert one_line(error, str(path), "-f") and path.read_bytes() == b"one"
    put(path, b"three" * 100_000, overwrite=True)
    put(tmp_path / "b", b"new", overwrite=True)
    assert path.read_bytes() == b"three" * 100_000 and left(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("raised", [KeyboardInterrupt, ValueError, SystemExit])
def test_an_error_in_the_block_leaves_the_old_file(tmp_path, any_system, raised):
    (tmp_path / "a").write_bytes(b"old")
    for name in ("a", "b"):
        with pytest.raises(raised), atomic_file(tmp_path / name, overwrite=True) as file:
            file.write(b"half")
            raise raised
    assert (tmp_path / "a").read_bytes() == b"old" and left(tmp_path) == ["a"]


def test_nothing_is_seen_before_the_end(tmp_path):
    with atomic_file(tmp_path / "a") as file:
        file.write(b"half")
        file.flush()
        assert all(name.startswith(".a.") for name in left(tmp_path))
        assert left(tmp_path) == [] or sys.platform != "linux"


def test_two_writers_without_force_one_wins(tmp_path, any_system):
    if any_system == "no links":
        pytest.skip("without links, only a check just before the rename protects a file that came into being meanwhile")
    first, second = atomic_file(tmp_path / "a"), atomic_file(tmp_path / "a")
    first.__enter__().write(b"first")
    second.__enter__().write(b"second")
    second.__exit__(None, None, None)
    with pytest.raises(OutputExistsError) as error:
        first.__exit__(None, None, None)
    assert one_line(error, str(tmp_path / "a"), "-f")
    assert (tmp_path / "a").read_bytes() == b"second" and left(tmp_path) == ["a"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_many_writers_at_once(tmp_path, overwrite):
    path, outcomes = tmp_path / "a", []
    start = threading.Barrier(8)

    def write(letter):
        start.wait()
        try:
            put(path, letter * 1_000_000, overwrite)
            outcomes.append(letter)
        except OutputExistsError:
            outcomes.append(None)

    threads = [threading.Thread(target=write, args=(bytes([65 + number]),)) for number in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    winners = [letter for letter in outcomes if letter]
    assert len(winners) == (8 if overwrite else 1) and len(outcomes) == 8
    assert path.read_bytes() in {letter * 1_000_000 for letter in winners} and left(tmp_path) == ["a"]


def test_links_are_followed(tmp_path):
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "a", tmp_path / "link"
    link.symlink_to(target)
    put(link, b"one")  # as with open, the missing target of a link is made
    with pytest.raises(OutputExistsError):
        put(link, b"two")
    put(link, b"three", overwrite=True)
    assert link.is_symlink() and target.read_bytes() == b"three"
    assert left(tmp_path) == ["link", "real"] and left(tmp_path / "real") == ["a"]


def test_folders_are_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    for name in ("folder", "link"):
        with pytest.raises(OutputExistsError) as error:
            put(tmp_path / name, b"", overwrite=True)
        assert one_line(error, "is a folder")
    for path in (tmp_path / "none" / "a", tmp_path / ("x" * 300)):
        with pytest.raises(OutputError) as error:
            put(path, b"")
        assert one_line(error, str(path), "; ")
    assert left(tmp_path) == ["folder", "link"]


@posix
def test_devices_and_pipes_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/null"), tmp_path / "pipe"):
        with pytest.raises(OutputError) as error:
            put(path, b"", overwrite=True)
        assert one_line(error, "device")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@posix
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions(tmp_path, any_system, umask):
    before = os.umask(umask)
    try:
        put(tmp_path / "a", b"one")
        (tmp_path / "b").write_bytes(b"ordinary")
        assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode
        for mode in (0o600, 0o664, 0o444):
            (tmp_path / "a").chmod(mode)
            put(tmp_path / "a", b"two", overwrite=True)
            assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode
    finally:
        os.umask(before)


@pytest.mark.skipif(not ROOT, reason="only root may give files to others")
def test_the_owner_is_kept(tmp_path):
    put(tmp_path / "a", b"one")
    os.chown(tmp_path / "a", 65534, 65533)
    put(tmp_path / "a", b"two", overwrite=True)
    assert ((tmp_path / "a").stat().st_uid, (tmp_path / "a").stat().st_gid) == (65534, 65533)


@pytest.fixture
def nobody():
    """Run the test as a user to whom permissions apply."""
    if ROOT:
        os.seteuid(65534)
    yield
    if ROOT:
        os.seteuid(0)


@posix
def test_a_folder_without_permission(nobody):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "folder"
        folder.mkdir()
        (folder / "a").write_bytes(b"old")
        folder.chmod(0o555)
        for path in (folder / "a", folder / "b"):
            with pytest.raises(OutputError) as error:
                put(path, b"new", overwrite=True)
            assert one_line(error, str(path), "can be written")
            with pytest.raises(OutputError, match="no permission"):
                check_output(path, True)
        assert (folder / "a").read_bytes() == b"old" and left(folder) == ["a"]
        folder.chmod(0o333)  # writable but not readable
        put(folder / "a", b"new", overwrite=True)
        folder.chmod(0o755)
        assert (folder / "a").read_bytes() == b"new" and left(folder) == ["a"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 200 kB in memory, and a function that makes it read-only."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "smalti-test", str(tmp_path)]
    if not ROOT or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small file system; the limit of file sizes is tested instead")
    yield tmp_path, lambda: subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk(small_disk, any_system):
    folder, _ = small_disk
    (folder / "a").write_bytes(b"old")
    for name in ("a", "b"):
        with pytest.raises(OutputError) as error:
            put(folder / name, bytes(300_000), overwrite=True)
        assert one_line(error, "No space left", "make room")
    assert (folder / "a").read_bytes() == b"old" and left(folder) == ["a"]
    put(folder / "a", bytes(60_000), overwrite=True)
    assert left(folder) == ["a"] and (folder / "a").stat().st_size == 60_000


def test_a_read_only_disk(small_disk):
    folder, make_read_only = small_disk
    (folder / "a").write_bytes(b"old")
    make_read_only()
    with pytest.raises(OutputError) as error:
        put(folder / "a", b"new", overwrite=True)
    assert one_line(error, "Read-only file system", "can be written") and (folder / "a").read_bytes() == b"old"


@posix
@pytest.mark.parametrize("kind", ["nameless", "hidden"])
def test_a_limit_of_file_sizes(tmp_path, kind, monkeypatch):
    import resource  # noqa: PLC0415 (POSIX)

    if kind == "hidden":
        monkeypatch.setattr(atomic, "_open_nameless", lambda folder: None)
    (tmp_path / "a").write_bytes(b"old")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OutputError) as error:
            put(tmp_path / "a", bytes(200_000), overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert one_line(error, "File too large; allow larger files")
    assert (tmp_path / "a").read_bytes() == b"old" and left(tmp_path) == ["a"]


def write_for_ever(folder, started):
    """The work of a child process, until it is killed."""
    try:
        for number in itertools.count(1):
            with atomic_file(folder / "a", overwrite=True) as file:
                for _ in range(20):
                    file.write(b"%08d" % number * 2_500)
            os.write(started, b".")
    finally:
        os._exit(1)


@posix
@pytest.mark.parametrize("kind", ["nameless", "hidden"])
def test_kills_at_random_moments(tmp_path, kind, monkeypatch):
    """After each kill the file is whole, and the next writer removes the leftovers of killed ones."""
    if kind == "hidden":
        monkeypatch.setattr(atomic, "_open_nameless", lambda folder: None)
    moments, path, left_over = random.Random(1), tmp_path / "a", 0
    put(path, b"%08d" % 0 * 50_000)
    for _ in range(40):
        reading, started = os.pipe()
        child = os.fork()
        if not child:
            write_for_ever(tmp_path, started)
        os.read(reading, 1)
        time.sleep(moments.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        os.close(reading)
        os.close(started)
        data = path.read_bytes()
        assert len(data) == 400_000 and data == data[:8] * 50_000
        assert len(left(tmp_path)) <= 2
        left_over = max(left_over, len(left(tmp_path)) - 1)
    put(path, b"end", overwrite=True)
    assert left(tmp_path) == ["a"]
    assert kind == "nameless" or left_over  # else no leftover was there to be removed


def test_hidden_files_of_dead_writers_are_removed_and_no_others(tmp_path):
    path = tmp_path / "a.[x]"
    dead = partial_path(path)
    dead.write_bytes(b"half")
    others = [partial_path(tmp_path / "a"), tmp_path / ".a.[x].mine.partial", tmp_path / f"{dead.name}s"]
    [other.write_bytes(b"") for other in others]
    folder = partial_path(path)
    folder.mkdir()
    with atomic_file(path) as file:
        file.write(b"x")
    assert left(tmp_path) == sorted([path.name, folder.name, *(other.name for other in others)])


@posix
def test_hidden_files_in_use_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_open_nameless", lambda folder: None)
    with atomic_file(tmp_path / "a", overwrite=True) as file:
        file.write(b"one")
        put(tmp_path / "a", b"two", overwrite=True)
        assert len(left(tmp_path)) == 2
    assert (tmp_path / "a").read_bytes() == b"one" and left(tmp_path) == ["a"]


@posix
def test_a_new_writer_that_seems_stale(tmp_path, monkeypatch):
    """Another process may find a hidden file after it was made and before it was locked, and remove it."""
    monkeypatch.setattr(atomic, "_open_nameless", lambda folder: None)
    lock, calls = atomic._lock, []

    def slow_lock(descriptor):
        calls.append(descriptor)
        if len(calls) == 1:
            atomic._remove_stale(tmp_path / "a")
        lock(descriptor)

    monkeypatch.setattr(atomic, "_lock", slow_lock)
    put(tmp_path / "a", b"whole")
    assert len(calls) == 2 and (tmp_path / "a").read_bytes() == b"whole" and left(tmp_path) == ["a"]


def test_long_names(tmp_path, any_system):
    for name in ("x" * 255, "日" * 85):
        put(tmp_path / name, b"one")
        put(tmp_path / name, b"two", overwrite=True)
    assert len(left(tmp_path)) == 2
