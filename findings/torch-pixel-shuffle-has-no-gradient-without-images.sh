#!/usr/bin/env bash
# pixel_shuffle of a batch of no images has the right shape and fails on the way back; pixel_unshuffle does nothing.
#
# Versions: torch 2.13.0 (CPU); Python 3.11.7 on Linux x86-64.
#
# pixel_unshuffle gives an empty batch back as it is, with the shape that it had: (0, 4, 2, 4) stays, instead of
# becoming (0, 16, 1, 2). pixel_shuffle makes (0, 1, 6, 10) of (0, 4, 3, 5), as documented; but its gradient is what
# pixel_unshuffle gives, so it keeps the shape of the result, and autograd refuses it. channel_shuffle, convolutions and
# transposed convolutions of empty batches are as documented, and have gradients.
#
# It matters to training on several processes: a rank has no image of a last, small batch, goes through the same
# network to take part in the exchange of gradients, and fails while all others wait. A sub-pixel convolution is not a
# drop-in for a transposed one there. A view, a permutation and a reshape with every size named work.
#
# Output seen:
#
#   1 image: pixel_shuffle (1, 1, 6, 10), gradient (1, 4, 3, 5)
#   no image: pixel_shuffle (0, 1, 6, 10), RuntimeError
#   1 image: pixel_unshuffle (1, 16, 1, 2), gradient (1, 4, 2, 4)
#   no image: pixel_unshuffle (0, 4, 2, 4), RuntimeError
#   1 image: channel_shuffle (1, 4, 3, 5), gradient (1, 4, 3, 5)
#   no image: channel_shuffle (0, 4, 3, 5), gradient (0, 4, 3, 5)

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'END'
import torch
from torch.nn import functional

CASES = {
    "pixel_shuffle": (functional.pixel_shuffle, (4, 3, 5)),
    "pixel_unshuffle": (functional.pixel_unshuffle, (4, 2, 4)),
    "channel_shuffle": (functional.channel_shuffle, (4, 3, 5)),
}
found = []
for name, (shuffle, shape) in CASES.items():
    for images in (1, 0):
        values = torch.zeros(images, *shape, requires_grad=True)
        made = shuffle(values, 2)
        try:
            made.sum().backward()
            end = f"gradient {tuple(values.grad.shape)}"
        except RuntimeError:
            end = "RuntimeError"
        found.append(f"{'1 image' if images else 'no image'}: {name} {tuple(made.shape)}, {end}")
        print(found[-1])

assert found == [
    "1 image: pixel_shuffle (1, 1, 6, 10), gradient (1, 4, 3, 5)",
    "no image: pixel_shuffle (0, 1, 6, 10), RuntimeError",
    "1 image: pixel_unshuffle (1, 16, 1, 2), gradient (1, 4, 2, 4)",
    "no image: pixel_unshuffle (0, 4, 2, 4), RuntimeError",
    "1 image: channel_shuffle (1, 4, 3, 5), gradient (1, 4, 3, 5)",
    "no image: channel_shuffle (0, 4, 3, 5), gradient (0, 4, 3, 5)",
], found
END
