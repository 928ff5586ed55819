"""Compression in shards, each for itself: a plan fixes them, any engine makes them, a manifest reads them as one.

`plan` is the file that says what each shard is; `shards` is what lies in the folder of shards; `making` makes one;
`pool` and `onray` make many, with this process, local ones, or Ray; `running` does what is missing. No shard
depends on another, on who makes it, or on when (docs/scale.md).
"""
