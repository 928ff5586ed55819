#!/usr/bin/env bash
# A file that was opened out of a ZIP archive by fsspec is closed when the file system object that opened it
# goes, although the file is still held.
#
# Versions: fsspec 2026.9.0; Python 3.11.7 on Linux x86-64.
#
# `url_to_fs("zip://...")` gives a file system, whose `open` gives a file. A function that returns only the
# file, as one does with every other protocol, returns one that is of no use: the file system of a ZIP archive
# is not kept in fsspec's cache of instances, and on its end it closes the archive below the member.
# `fsspec.open(...).open()` has the same end. For `memory://` it works.
#
# It matters to whoever wraps fsspec in a function `open_url(url)`: keep the file system as long as the file.
#
# Output seen:
#
#   memory, the file alone: b'hello'
#   ZIP, the file and its file system: b'hello'
#   ZIP, the file alone: ValueError: seek of closed file
#   ZIP, by fsspec.open(...).open(): ValueError: seek of closed file

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    fsspec==2026.9.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import gc, pathlib, sys, zipfile
import fsspec

with zipfile.ZipFile("a.zip", "w") as archive:
    archive.writestr("a.txt", b"hello")
fsspec.filesystem("memory").pipe("/a.txt", b"hello")


def file_alone(url):
    files, path = fsspec.core.url_to_fs(url)
    return files.open(path, "rb"), None


def file_and_system(url):
    files, path = fsspec.core.url_to_fs(url)
    return files.open(path, "rb"), files


def by_fsspec_open(url):
    return fsspec.open(url, "rb").open(), None


seen = []
zipped = "zip://a.txt::" + pathlib.Path("a.zip").absolute().as_uri()
for name, how, url in (
    ("memory, the file alone", file_alone, "memory://a.txt"),
    ("ZIP, the file and its file system", file_and_system, zipped),
    ("ZIP, the file alone", file_alone, zipped),
    ("ZIP, by fsspec.open(...).open()", by_fsspec_open, zipped),
):
    file, kept = how(url)
    gc.collect()
    try:
        seen.append(file.read())
    except ValueError as error:
        seen.append(f"ValueError: {error}")
    print(f"{name}: {seen[-1]}")
if seen[:2] != [b"hello"] * 2 or not all(isinstance(words, str) for words in seen[2:]):
    sys.exit("The behaviour changed.")
END
