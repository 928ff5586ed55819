#!/usr/bin/env bash
# zstandard unpacks the first frame of a file alone in some of its functions and all frames in others, without
# an error in either case.
#
# Versions: zstandard 0.25.0; Python 3.11.7 on Linux x86-64.
#
# A .zst file may consist of several frames one after the other; what parallel packers write, and what `cat
# a.zst b.zst` gives, does. `decompress` and `read_to_iter` return the content of the first one, as if the file
# ended there. `copy_stream` and `stream_reader(...).read()` return all. `stream_reader(...).read(100)` stops
# short at the end of each frame, though more follows, unless `read_across_frames=True`.
#
# It matters to whoever reads files of others: a part may be missing, and a reader that takes a short read for
# the end of the file stops early. Test with a file of two frames.
#
# Output seen:
#
#   decompress: b'one'
#   read_to_iter: b'one'
#   copy_stream: b'onetwo'
#   stream_reader, read(): b'onetwo'
#   stream_reader, read(100): b'one'
#   the same, read_across_frames=True: b'onetwo'

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    zstandard==0.25.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import io, sys
import zstandard

data = zstandard.compress(b"one") + zstandard.compress(b"two")


def copied():
    out = io.BytesIO()
    zstandard.ZstdDecompressor().copy_stream(io.BytesIO(data), out)
    return out.getvalue()


def reader(**options):
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), **options)


seen = {
    "decompress": zstandard.ZstdDecompressor().decompress(data),
    "read_to_iter": b"".join(zstandard.ZstdDecompressor().read_to_iter(io.BytesIO(data))),
    "copy_stream": copied(),
    "stream_reader, read()": reader().read(),
    "stream_reader, read(100)": reader().read(100),
    "the same, read_across_frames=True": reader(read_across_frames=True).read(100),
}
for name, found in seen.items():
    print(f"{name}: {found}")
if list(seen.values()) != [b"one", b"one", b"onetwo", b"onetwo", b"one", b"onetwo"]:
    sys.exit("The behaviour changed.")
END
