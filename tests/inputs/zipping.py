"""Zip files by the zip program, or by Python's where there is none."""

import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["pack_zip"]


def pack_zip(out: Path, folder: Path, names: list[str]) -> None:
    """Pack files and folders of `folder`."""
    program = ["zip", "-qr"] if shutil.which("zip") else [sys.executable, "-m", "zipfile", "-c"]
    subprocess.run([*program, str(out), *names], cwd=folder, check=True)
