#!/usr/bin/env bash
# In reedsolo, making an RSCodec changes what the functions of the module compute, for everybody in the process.
#
# Versions: reedsolo 1.7.0; Python 3.11.7 on Linux x86-64.
#
# `reedsolo.gf_mul`, `rs_encode_msg` and the others use tables of the module. A new `RSCodec` with another
# polynomial puts its own tables there: the product of the same two numbers, and the parity of the same message,
# are others from then on. RSCodec objects do not disturb each other, so that only who uses the functions sees
# it.
#
# It matters to whoever uses the functions, for instance to make a generator matrix: call `init_tables` before
# each use, since another package may have made a codec since.
#
# Output seen:
#
#   200 * 3 = 69; parity by the function cbbaa9ba; by an RSCodec cbbaa9ba
#   made another RSCodec, with prim=0x187
#   200 * 3 = 223; parity by the function 0a68caca; by the first RSCodec cbbaa9ba

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    reedsolo==1.7.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys
import reedsolo

MESSAGE = b"hello"


def parity():
    return bytes(reedsolo.rs_encode_msg(MESSAGE, 4, gen=generator))[-4:].hex()


reedsolo.init_tables(0x11D)
generator = reedsolo.rs_generator_poly(4)
codec = reedsolo.RSCodec(4)
before = reedsolo.gf_mul(200, 3), parity(), codec.encode(MESSAGE).hex()
print("200 * 3 = {}; parity by the function {}; by an RSCodec {}".format(before[0], before[1], before[2][-8:]))
other = reedsolo.RSCodec(4, prim=0x187)
print("made another RSCodec, with prim=0x187")
after = reedsolo.gf_mul(200, 3), parity(), codec.encode(MESSAGE).hex()
print("200 * 3 = {}; parity by the function {}; by the first RSCodec {}".format(after[0], after[1], after[2][-8:]))
if before[0] == after[0] or before[1] == after[1] or before[2] != after[2]:
    sys.exit("The behaviour changed.")
END
