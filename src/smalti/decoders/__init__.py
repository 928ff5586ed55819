"""Decoder kinds: tokens to pixels and tokens to bytes, in integers, with the same result on every machine.

    kind.py       DecoderKind, and KINDS: one line for each kind
    contract.py   what kinds take and return (facts, limits, models, priors), and the checks that they share
    blank.py      the decoder of an archive that needs none
    layers/       exact integer layers, which the kinds share
    grid/, pyramid/   the kinds

A new kind is a folder here and a line in `KINDS`. Layer: below `residual` and `archive`, above `entropy`. This package
knows nothing of files, sections or training.
"""
