#!/usr/bin/env bash
# torch's float32 convolution of small integers is not exact on the CPU, depending on the size of the batch:
# from 16 images on, without oneDNN.
#
# Versions: torch 2.13.0 (a CPU build), NumPy 2.4.6; Python 3.11.7 on Linux x86-64. The processor needs AVX2.
#
# All inputs, weights and sums are integers below 2**24, which float32 holds exactly, so that products summed in
# any order are exact. With oneDNN switched off, batches of 15 are; from 16 images on torch hands 3 x 3
# convolutions to NNPACK, whose fast algorithm uses fractions, and results are no whole numbers any more. With
# NNPACK switched off they are exact again, and so they are as a matrix product of patches.
#
# It matters to whoever counts on integers in floats, as networks in integers do: write convolutions as matrix
# products, or test each backend and batch size.
#
# Output seen:
#
#   largest sum: 108337 of 2**24 = 16777216
#   oneDNN on, 16 images: 0% of numbers wrong, off by at most 0.0000
#   oneDNN off, 15 images: 0% of numbers wrong, off by at most 0.0000
#   oneDNN off, 16 images: 44% of numbers wrong, off by at most 0.0156
#   oneDNN and NNPACK off, 16 images: 0% of numbers wrong, off by at most 0.0000
#   oneDNN off, patches @ weights, 16 images: 0% of numbers wrong, off by at most 0.0000

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

torch.set_num_threads(1)
if not torch.backends.nnpack.is_available():
    sys.exit("This torch or this processor has no NNPACK: nothing to see here.")
generator = torch.Generator().manual_seed(0)
images = torch.randint(0, 256, (16, 64, 28, 28), generator=generator).float()
weights = torch.randint(-8, 8, (64, 64, 3, 3), generator=generator).float()
exact = torch.nn.functional.conv2d(images.double(), weights.double(), padding=1)
print("largest sum:", int(exact.abs().max()), "of 2**24 =", 2**24)
conv = torch.nn.functional.conv2d


def patches(batch):
    columns = torch.nn.functional.unfold(batch, 3, padding=1)
    return (weights.reshape(64, -1) @ columns).reshape(-1, 64, 28, 28)


seen = []
for name, count, onednn, nnpack, compute in (
    ("oneDNN on", 16, True, True, lambda batch: conv(batch, weights, padding=1)),
    ("oneDNN off", 15, False, True, lambda batch: conv(batch, weights, padding=1)),
    ("oneDNN off", 16, False, True, lambda batch: conv(batch, weights, padding=1)),
    ("oneDNN and NNPACK off", 16, False, False, lambda batch: conv(batch, weights, padding=1)),
    ("oneDNN off, patches @ weights", 16, False, True, patches),
):
    with torch.backends.mkldnn.flags(enabled=onednn), torch.backends.nnpack.flags(enabled=nnpack):
        result = compute(images[:count])
    wrong = result != exact[:count]
    seen.append(bool(wrong.any()))
    print(f"{name}, {count} images: {wrong.float().mean():.0%} of numbers wrong, off by at most {(result - exact[:count]).abs().max():.4f}")
if seen != [False, False, True, False, False]:
    sys.exit("The behaviour changed.")
END
