"""ZIP files, made by the zip program, or by Python if it is not installed."""

import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["pack_zip"]


def pack_zip(out: Path, folder: Path, names: list[str]) -> None:
    """Pack files and folders of `folder`."""
    program = ["zip", "-qr"] if shutil.which("zip") else [sys.executable, "-m", "zipfile", "-c"]
    subprocess.run([*program, str(out), *names], cwd=folder, check=True)
