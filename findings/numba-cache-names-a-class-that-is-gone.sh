#!/usr/bin/env bash
# A function that Numba compiled and kept (`cache=True`) cannot be called any more once a class of its arguments has
# another name, although its source changed with it.
#
# Versions: numba 0.68.1, llvmlite 0.50.0, NumPy 2.4.6; Python 3.11.7 on Linux x86-64.
#
# A module has a NamedTuple and a function that takes one. It is called, so that what it was compiled to is kept in
# __pycache__. Then the class gets another name in the file, and nothing else changes. Numba says that it compiles anew
# what lies in a file of another time or size; but it unpickles the kept index first, which names the old class, and
# AttributeError leaves the call. Only removing the files helps.
#
# It matters to whoever ships kernels: an upgrade in place leaves such files beside the new source. Keep them in a folder
# whose name depends on the sources.
#
# Output seen:
#
#   first: 7
#   the class is called Pair: AttributeError: Can't get attribute 'Both' on <module 'kernels' ...>
#   without the kept files: 7

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    numba==0.68.1 llvmlite==0.50.0 numpy==2.4.6
cd "$folder"
cat > kernels.py <<'END'
from typing import NamedTuple

from numba import njit


class Both(NamedTuple):
    one: int
    other: int


@njit(cache=True)
def total(both):
    return both.one + both.other


def run():
    return total(Both(3, 4))
END
run() { "$folder/venv/bin/python" -c "
import kernels
try:
    print(kernels.run())
except AttributeError as error:
    print('AttributeError:', str(error).split(' from ')[0])
"; }
first=$(run)
echo "first: $first"
sleep 1
sed 's/Both/Pair/g' kernels.py > renamed.py
mv renamed.py kernels.py
second=$(run)
echo "the class is called Pair: $second"
rm -r __pycache__
third=$(run)
echo "without the kept files: $third"
case "$first $second $third" in
"7 AttributeError: Can't get attribute 'Both'"*" 7") ;;
*) echo "The behaviour changed."; exit 1 ;;
esac
