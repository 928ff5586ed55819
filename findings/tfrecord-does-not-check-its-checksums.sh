#!/usr/bin/env bash
# The package tfrecord writes the checksums of TFRecord files, and checks none when it reads.
#
# Versions: tfrecord 1.14.6, numpy 2.4.6; Python 3.11.7 on Linux x86-64.
#
# Each record has two checksums (masked CRC32C), of its length and of its data. A changed byte in an image, and
# checksums that are all zero, make no error and no warning: the changed image is read. TensorFlow raises DataLossError.
#
# It matters to whoever takes it for a check of a copy: compare the checksums, or those of the files.
#
# Output seen:
#
#   written: 0 0 0 0 0 0 0 0
#   a byte changed: 0 0 0 9 0 0 0 0
#   checksums all zero: 0 0 0 0 0 0 0 0

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    tfrecord==1.14.6 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys
from pathlib import Path

import tfrecord

path = Path("a.tfrecord")
writer = tfrecord.TFRecordWriter(str(path))
writer.write({"image": (bytes(8), "byte")})
writer.close()
written = path.read_bytes()


def read(data):
    path.write_bytes(data)
    (record,) = tfrecord.tfrecord_loader(str(path), None, {"image": "byte"})
    return [*record["image"]]


at = written.index(bytes(8), 12) + 3
changed = written[:at] + b"\x09" + written[at + 1 :]
cleared = written[:8] + bytes(4) + written[12:-4] + bytes(4)
found = {"written": read(written), "a byte changed": read(changed), "checksums all zero": read(cleared)}
for name, values in found.items():
    print(f"{name}:", *values)
if list(found.values()) != [[0] * 8, [0, 0, 0, 9, 0, 0, 0, 0], [0] * 8]:
    sys.exit("The behaviour changed.")
END
