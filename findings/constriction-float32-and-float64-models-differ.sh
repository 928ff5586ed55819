#!/usr/bin/env bash
# constriction makes different models of equal probabilities in float32 and in float64; what one wrote, the
# other decodes wrongly and without an error.
#
# Versions: constriction 0.5.0, NumPy 2.4.6; Python 3.11.7 on Linux x86-64.
#
# All probabilities here are whole numbers divided by 2**12, so float32 and float64 hold the very same numbers.
# `Categorical(..., perfect=False)` scales them to units of 2**-24 by a product that rounds as its dtype does,
# and the edges of symbols move by some units. Here, with 10 symbols and more, a stream written with float64
# falls out of step when it is read with float32.
#
# It goes away if the weights are the units themselves, less the one that each symbol gets anyway: f * 2**(24 -
# 12) - 1. Then the scale is exactly 1, and nothing rounds in either dtype.
#
# It matters to whoever stores streams: a change of dtype between two releases of a program makes its old files
# unreadable.
#
# Output seen:
#
#   2 symbols: 0 of 2000 wrong as fractions, 0 as units less one
#   10 symbols: 1663 of 2000 wrong as fractions, 0 as units less one
#   100 symbols: 1929 of 2000 wrong as fractions, 0 as units less one
#   1000 symbols: 1951 of 2000 wrong as fractions, 0 as units less one

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

Categorical = constriction.stream.model.Categorical
AnsCoder = constriction.stream.stack.AnsCoder


def wrongly_decoded(symbols, weights):
    """Symbols that come back otherwise, written with float64 and read with float32."""
    narrow = weights.astype(np.float32)
    assert (narrow == weights).all()  # the same numbers
    coder = AnsCoder()
    coder.encode_reverse(symbols, Categorical(weights, perfect=False))
    decoded = AnsCoder(coder.get_compressed()).decode(Categorical(narrow, perfect=False), len(symbols))
    return int((decoded != symbols).sum())


random = np.random.default_rng(1)
seen = []
for count in (2, 10, 100, 1000):
    frequencies = random.multinomial(2**12 - count, random.dirichlet(np.ones(count))) + 1  # they sum to 2**12
    symbols = random.choice(count, size=2000, p=frequencies / 2**12).astype(np.int32)
    fractions = wrongly_decoded(symbols, frequencies / 2**12)
    units = wrongly_decoded(symbols, frequencies * 2.0 ** (24 - 12) - 1)
    seen.append((fractions, units))
    print(f"{count} symbols: {fractions} of 2000 wrong as fractions, {units} as units less one")
if any(units for _, units in seen) or not all(fractions > 1000 for fractions, _ in seen[1:]):
    sys.exit("The behaviour changed.")
END
