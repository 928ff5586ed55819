"""Collections as docs/collections.md states them, read with nothing of smalti (see specification_reader)."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np

from archive.specification_reader import (
    MODEL,
    PRIOR,
    Bytes,
    canonical_json,
    decode_pixels,
    demand,
    read_frames,
    read_header,
    read_model,
    read_sections,
)

MEMBER, SHARED, DIRECTORY = 10, 11, 12
SHARES_MODEL, SHARES_PRIOR = 2, 4


def read_collection(data: bytes) -> list[np.ndarray]:
    """The images of each member, [N, H, W, C]."""
    sections = read_frames(data, 1, DIRECTORY)
    demand(set(sections) <= {MEMBER, SHARED, DIRECTORY} and len(sections[DIRECTORY]) == 1, "frames of a collection")
    directory = canonical_json(sections[DIRECTORY][0])
    demand(sorted(directory) == ["format_version", "members", "required_features"], "keys of the directory")
    demand((directory["format_version"], directory["required_features"]) == (1, 1), "version of the directory")
    shared = {hashlib.sha256(payload).digest(): payload for payload in sections.get(SHARED, [])}
    images = [read_member(member, shared) for member in sections[MEMBER]]
    stated = [(one["images"], one["image_shape"], one["dtype"]) for one in directory["members"]]
    demand(stated == [(len(each), list(each.shape[1:]), each.dtype.name) for each in images], "directory")
    return images


def read_member(data: bytes, shared: dict[bytes, bytes]) -> np.ndarray:
    """The images of a member."""
    features = int.from_bytes(data[12:16], "little")
    demand(not features & ~(SHARES_MODEL | SHARES_PRIOR), "features of a member")
    sections = read_sections(data, features)
    header = read_header(sections, features)
    if features & SHARES_PRIOR:
        demand(header["decoder"] == "pyramid" and len(sections[PRIOR][0]) == 32, "a shared prior")
        sections[PRIOR] = [shared[sections[PRIOR][0]]]
    if not features & SHARES_MODEL:
        return decode_pixels(sections, header)
    reference = Bytes(sections[MODEL][0])
    facts, model = split(shared[reference.take(32)])
    demand(all(facts[name] == header[name] for name in ("codebook_size", "decoder", "dtype")), "a shared model")
    if header["decoder"] == "pyramid":
        demand(not reference.rest(), "bytes after the name of a model")
        sections[MODEL] = [model]
        return decode_pixels(sections, header)
    numbers, layers = read_model(model, header | {"codes_used": facts["codes"]})
    own = np.array(reference.fields(f"{header['codes_used']}H"), np.int64)
    demand(not reference.rest() and (np.diff(own) > 0).all() and own[-1] < facts["codes"], "own codes")
    first = replace(layers[0], inputs=len(own), weight=layers[0].weight[own])
    return decode_pixels(sections, header, (numbers[own], [first, *layers[1:]]))


def split(payload: bytes) -> tuple[dict[str, Any], bytes]:
    """What a shared model says of itself, and the model."""
    source = Bytes(payload)
    facts = canonical_json(source.take(source.fields("I")[0]))
    demand(sorted(facts) == ["codebook_size", "codes", "decoder", "dtype"], "keys of a shared model")
    return facts, source.rest()
