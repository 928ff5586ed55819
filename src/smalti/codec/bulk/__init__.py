"""Compression in shards: a plan fixes the shards, an engine makes them, a manifest reads them as one collection.

`plan` is the file that defines each shard; `shards` is the folder of shards and the worker that makes one; `engines`
run many workers, in this process, in local processes or on Ray; `running` makes the shards that are missing. A shard
depends on no other shard, nor on the machine or the time of its making (docs/scale.md).
"""
