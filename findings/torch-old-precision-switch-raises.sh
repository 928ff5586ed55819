#!/usr/bin/env bash
# After the new setting of float32 precision was used once, torch's old getter raises instead of answering, also
# in code that never heard of the new one.
#
# Versions: torch 2.13.0 (a CPU build), NumPy 2.4.6; Python 3.11.7 on Linux x86-64.
#
# `torch.get_float32_matmul_precision()` is a getter without side effects. If anybody in the process has set
# `torch.backends.cuda.matmul.fp32_precision` to "tf32", it raises RuntimeError, even on a machine without a
# GPU. So the usual way to save the setting, change it and put it back fails inside a library because of one
# line elsewhere. Setting it back to "ieee" makes the getter answer again.
#
# It matters to whoever must compute a product in full float32 whatever the program has chosen: save and restore
# the new settings, each by itself.
#
# Output seen:
#
#   CUDA there: False
#   at first: highest
#   cuda.matmul.fp32_precision = 'tf32': RuntimeError: PyTorch is checking the matmul precision without a specific backend name,Current status indicate tha
#   cuda.matmul.fp32_precision = 'ieee': highest

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys
import torch


def asked():
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError as error:
        return f"RuntimeError: {str(error).split('.')[0][:100]}"


seen = []
print("CUDA there:", torch.cuda.is_available())
seen.append(asked())
print("at first:", seen[-1])
for precision in ("tf32", "ieee"):
    torch.backends.cuda.matmul.fp32_precision = precision
    seen.append(asked())
    print(f"cuda.matmul.fp32_precision = {precision!r}:", seen[-1])
if (seen[0], seen[2]) != ("highest", "highest") or not seen[1].startswith("RuntimeError"):
    sys.exit("The behaviour changed.")
END
