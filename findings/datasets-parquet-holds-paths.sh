#!/usr/bin/env bash
# `Dataset.to_parquet` of Hugging Face writes paths of this machine in place of the images; `save_to_disk`
# writes the images.
#
# Versions: datasets 5.2.0, Pillow 13.0.0, pyarrow 26.0.1; Python 3.11.7 on Linux x86-64.
#
# A folder of images is loaded with "imagefolder". The Parquet file that `to_parquet` writes of it holds no
# bytes, only absolute paths, though the column looks like one of embedded images (a struct of bytes and path).
# It loads on this machine, and on any other, or once the folder is gone, there is nothing in it. The folder
# that `save_to_disk` writes of the same data set holds the bytes.
#
# It matters to whoever passes a file on, or reads one: look whether `bytes` is null.
#
# Output seen:
#
#   to_parquet: no bytes, an absolute path
#   save_to_disk: bytes of a file, path 'a.png'

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    datasets==5.2.0 pillow==13.0.0 pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import os, pathlib, sys

os.environ |= {"HF_HOME": os.getcwd(), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
import datasets
import pyarrow.parquet as pq
from PIL import Image

datasets.disable_progress_bars()
pathlib.Path("photos").mkdir()
Image.new("L", (2, 1), 9).save("photos/a.png")
photos = datasets.load_dataset("imagefolder", data_dir="photos", split="train")


def words(cell):
    where = "no path" if cell["path"] is None else "an absolute path" if os.path.isabs(cell["path"]) else f"path {cell['path']!r}"
    return f"{'no bytes' if cell['bytes'] is None else 'bytes of a file'}, {where}"


photos.to_parquet("a.parquet")
parquet = words(pq.read_table("a.parquet")["image"][0].as_py())
photos.save_to_disk("saved")
saved = words(datasets.load_from_disk("saved").cast_column("image", datasets.Image(decode=False))[0]["image"])
print("to_parquet:", parquet)
print("save_to_disk:", saved)
if (parquet, saved) != ("no bytes, an absolute path", "bytes of a file, path 'a.png'"):
    sys.exit("The behaviour changed.")
END
