#!/usr/bin/env bash
# constriction's stack coder goes on decoding after its data has ended, and gives plausible symbols without an
# error.
#
# Versions: constriction 0.5.0, NumPy 2.4.6; Python 3.11.7 on Linux x86-64.
#
# Four symbols are written and 14 are read. Ten more come back than were written, all valid symbols of the
# model; no exception is raised. `is_empty()` is True after the fourth symbol, and still True after the
# fourteenth, so that it does not tell the one from the other.
#
# It matters to whoever stores streams: keep the number of symbols beside them, and a checksum of what was
# coded.
#
# Output seen:
#
#   written: [2, 1, 0, 2] in 1 word of 32 bits
#   read 4: [2, 1, 0, 2] is_empty: True
#   read 10 more: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0] is_empty: True

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    constriction==0.5.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys
import constriction
import numpy as np

model = constriction.stream.model.Categorical(np.array([0.5, 0.25, 0.25]), perfect=False)
written = np.array([2, 1, 0, 2], np.int32)
coder = constriction.stream.stack.AnsCoder()
coder.encode_reverse(written, model)
words = coder.get_compressed()
decoder = constriction.stream.stack.AnsCoder(words)
print("written:", written.tolist(), "in", len(words), "word of 32 bits")
first = decoder.decode(model, 4)
empty = decoder.is_empty()
print("read 4:", first.tolist(), "is_empty:", empty)
more = decoder.decode(model, 10)
print("read 10 more:", more.tolist(), "is_empty:", decoder.is_empty())
if not (np.array_equal(first, written) and empty and decoder.is_empty() and len(more) == 10 and set(more.tolist()) <= {0, 1, 2}):
    sys.exit("The behaviour changed.")
END
