#!/usr/bin/env bash
# webdataset's writer takes keys that its reader takes for something else: two samples become one, and others
# vanish.
#
# Versions: webdataset 1.0.2; Python 3.11.7 on Linux x86-64.
#
# A sample's key ends at the first dot of the last part of its path when it is read, wherever it ended when it
# was written. So `scan.001` and `scan.002` come back as one sample called `scan` with the members `001.png` and
# `002.png`. And members whose path begins with a part like `__raw__` are taken for the reader's own and passed
# over (not so where such a part comes later). Neither makes a warning, on writing or on reading.
#
# It matters to whoever takes keys from names of files: replace dots, and look out for leading parts in double
# underscores.
#
# Output seen:
#
#   written: 5 samples ['scan.001', 'scan.002', '__raw__/1', 'b/__raw__/1', 'c']
#   read:    3 samples [('scan', ['001.png', '002.png']), ('b/__raw__/1', ['png']), ('c', ['png'])]

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    webdataset==1.0.2
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys
import webdataset

written = ["scan.001", "scan.002", "__raw__/1", "b/__raw__/1", "c"]
with open("a.tar", "wb") as file:
    writer = webdataset.TarWriter(file)
    for key in written:
        writer.write({"__key__": key, "png": key.encode()})
    writer.close()
read = []
for sample in webdataset.WebDataset("a.tar", shardshuffle=False):
    read.append((sample["__key__"], sorted(name for name in sample if not name.startswith("__"))))
print("written:", len(written), "samples", written)
print("read:   ", len(read), "samples", read)
if read != [("scan", ["001.png", "002.png"]), ("b/__raw__/1", ["png"]), ("c", ["png"])]:
    sys.exit("The behaviour changed.")
END
