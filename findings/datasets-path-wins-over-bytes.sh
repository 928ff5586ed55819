#!/usr/bin/env bash
# Hugging Face `datasets` drops the bytes of an image that it is given, if a file of the image's name lies in
# the working folder.
#
# Versions: datasets 5.2.0, Pillow 13.0.0; Python 3.11.7 on Linux x86-64.
#
# An `Image()` column takes `{"bytes": ..., "path": ...}`, and one would take the path for a name that goes with
# the bytes. With `from_dict` and `from_generator`, bytes are kept if there is no such file. If there is one,
# the bytes are dropped, the path alone is stored, and the pixels of the file come back. So the same program
# gives other images in another folder.
#
# It matters to whoever keeps names of images in `path`: make the table with Arrow instead, or leave the path
# out.
#
# Output seen:
#
#   bytes of a pixel of 200, path 'elsewhere.png': from_dict 200, from_generator 200
#   bytes of a pixel of 200, path 'here.png': from_dict 7, from_generator 7
#   the file here.png in the working folder has a pixel of 7

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    datasets==5.2.0 pillow==13.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import io, os, sys

os.environ |= {"HF_HOME": os.getcwd(), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
import datasets
from PIL import Image

datasets.disable_progress_bars()
FEATURES = datasets.Features({"image": datasets.Image()})


def png(value):
    file = io.BytesIO()
    Image.new("L", (1, 1), value).save(file, "PNG")
    return file.getvalue()


def rows(name):
    yield {"image": {"bytes": png(200), "path": name}}


def pixel(dataset):
    return dataset[0]["image"].getpixel((0, 0))


with open("here.png", "wb") as file:
    file.write(png(7))
seen = []
for name in ("elsewhere.png", "here.png"):
    by_dict = datasets.Dataset.from_dict({"image": [row["image"] for row in rows(name)]}, features=FEATURES)
    by_generator = datasets.Dataset.from_generator(rows, features=FEATURES, gen_kwargs={"name": name})
    seen.append((pixel(by_dict), pixel(by_generator)))
    print(f"bytes of a pixel of 200, path {name!r}: from_dict {seen[-1][0]}, from_generator {seen[-1][1]}")
print("the file here.png in the working folder has a pixel of 7")
if seen != [(200, 200), (7, 7)]:
    sys.exit("The behaviour changed.")
END
