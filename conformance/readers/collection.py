"""A reader of collections, written from docs/collections.md without smalti."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.readers.archive import Images, decode_sections, read_model
from conformance.readers.basics import Bytes, canonical_json, demand
from conformance.readers.sections import MODEL, PRIOR, read_frames, read_header, read_sections

MEMBER, SHARED, DIRECTORY = 10, 11, 12
SHARES_MODEL, SHARES_PRIOR = 2, 4


def read_collection(data: bytes) -> list[Images]:
    """The contents of each member."""
    sections = read_frames(data, 1, DIRECTORY)
    kinds = {kind for kind in sections if kind < 128}
    demand({MEMBER, DIRECTORY} <= kinds <= {MEMBER, SHARED, DIRECTORY}, "frames of a collection")
    demand(len(sections[DIRECTORY]) == 1, "one directory")
    directory = canonical_json(sections[DIRECTORY][0])
    demand(sorted(directory) == ["format_version", "members", "required_features"], "keys of the directory")
    demand((directory["format_version"], directory["required_features"]) == (1, 1), "version of the directory")
    shared = {hashlib.sha256(payload).digest(): payload for payload in sections.get(SHARED, [])}
    images = [read_member(member, shared) for member in sections[MEMBER]]
    demand(isinstance(directory["members"], list), "members of the directory")
    demand(all(sorted(one) == ["dtype", "image_shape", "images"] for one in directory["members"]), "keys of a member")
    stated = [(one["images"], one["image_shape"], one["dtype"]) for one in directory["members"]]
    demand(
        stated == [(len(each.pixels), list(each.pixels.shape[1:]), each.pixels.dtype.name) for each in images],
        "directory",
    )
    return images


def read_member(data: bytes, shared: dict[bytes, bytes]) -> Images:
    """The contents of a member."""
    features = int.from_bytes(data[12:16], "little")
    demand(not features & ~(SHARES_MODEL | SHARES_PRIOR), "features of a member")
    sections = read_sections(data, features)
    header = read_header(sections, features)
    if features & SHARES_PRIOR:
        demand(header["decoder"] == "pyramid" and len(sections[PRIOR][0]) == 32, "a shared prior")
        sections[PRIOR] = [shared_payload(shared, sections[PRIOR][0])]
    if not features & SHARES_MODEL:
        return decode_sections(sections, header)
    reference = Bytes(sections[MODEL][0])
    facts, model = split(shared_payload(shared, reference.take(32)))
    demand(all(facts[name] == header[name] for name in ("codebook_size", "decoder", "dtype")), "a shared model")
    if header["decoder"] == "pyramid":
        demand(not reference.rest(), "bytes after the name of a model")
        sections[MODEL] = [model]
        return decode_sections(sections, header)
    numbers, layers = read_model(model, header | {"codes_used": facts["codes"]})
    own = np.array(reference.fields(f"{header['codes_used']}H"), np.int64)
    demand(not reference.rest() and (np.diff(own) > 0).all() and own[-1] < facts["codes"], "own codes")
    first = replace(layers[0], inputs=len(own), weight=layers[0].weight[own])
    return decode_sections(sections, header, (numbers[own], [first, *layers[1:]]))


def shared_payload(shared: dict[bytes, bytes], digest: bytes) -> bytes:
    """The payload of a shared section of this SHA-256."""
    demand(digest in shared, "a shared section is missing")
    return shared[digest]


def split(payload: bytes) -> tuple[dict[str, Any], bytes]:
    """The head of a shared model, and the model."""
    source = Bytes(payload)
    facts = canonical_json(source.take(source.fields("I")[0]))
    demand(sorted(facts) == ["codebook_size", "codes", "decoder", "dtype"], "keys of a shared model")
    return facts, source.rest()
