"""Decoder kinds: from tokens to pixels and from tokens to bytes, in integers, the same on every machine.

    kind.py       DecoderKind, and KINDS: one line for each kind
    contract.py   what a kind is told, and what it gives: facts, limits, models, priors
    checks.py     checks that kinds share
    blank.py      the decoder of an archive that needs none
    grid/, pyramid/   the kinds

A new kind is a folder here and a line in `KINDS`. Layer: below `residual` and `archive`, above `entropy`; it knows
nothing of files, sections or training.
"""
