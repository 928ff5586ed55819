"""Make conformance/expected.json: the contents of the files in golden and sound, as the page-only readers find them.

python -m conformance.make_expected
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from conformance.readers import Images, SizedImages, read_members
from conformance.readers.__main__ import pixel_bytes, shapes_of

ROOT = Path(__file__).parent
RECORD = ROOT / "expected.json"


def files() -> list[Path]:
    """All files that expected.json describes."""
    return sorted([*(ROOT / "golden").glob("*.smalti"), *(ROOT / "sound").glob("*.smalti")])


def name_of(path: Path) -> str:
    """The name of a file in expected.json."""
    return path.relative_to(ROOT).as_posix()


def facts_of(data: bytes) -> dict[str, Any]:
    """The facts about a file."""
    facts: dict[str, Any] = {
        "file_bytes": len(data),
        "file_sha256": hashlib.sha256(data).hexdigest(),
        "format_version": int.from_bytes(data[8:10], "little"),
        "required_features": int.from_bytes(data[12:16], "little"),
    }
    if facts["format_version"] == 0:
        return facts | {"refused": "version 0 is provisional: a reader of version 1 refuses it by name"}
    members = read_members(data)
    return facts | {
        "images": sum(len(member.pixels) for member in members),
        "pixels_sha256": digest(b"".join(map(pixel_bytes, members))),
        "members": [member_facts(member) for member in members],
    }


def member_facts(member: Images | SizedImages) -> dict[str, Any]:
    """The facts about an archive."""
    header, sized = member.header, isinstance(member, SizedImages)
    return {
        "required_features": header["required_features"],
        "decoder": header["decoder"],
        "dtype": header["dtype"],
        "shape": words_of(member.pixels) if sized else shapes_of(member),
        "codebook_size": header["codebook_size"],
        "codes_used": header["codes_used"],
        "block_images": header["block_images"],
        "promise": header["promise"],
        "pixels_sha256": digest(pixel_bytes(member)),
        "first_pixels": member.pixels[0].ravel()[:8].tolist(),
        "tokens_shape": words_of(member.tokens) if sized else list(member.tokens.shape),
        "tokens_sha256": digest(b"".join(each.tobytes() for each in member.tokens)),
        "first_tokens": member.tokens[0].ravel()[:8].tolist(),
        "columns": header["columns"],
        "labels_sha256": None if member.labels is None else digest(member.labels.astype("<i8").tobytes()),
        "first_labels": None if member.labels is None else member.labels[:8].tolist(),
        "class_names": member.class_names,
        "names_sha256": None if member.names is None else digest("\n".join(member.names).encode()),
        "first_names": None if member.names is None else member.names[:3],
    }


def words_of(arrays: list[np.ndarray]) -> list[str]:
    """The shapes of arrays, such as 7x9x3."""
    return ["x".join(map(str, array.shape)) for array in arrays]


def digest(data: bytes) -> str:
    """SHA-256, in hex."""
    return hashlib.sha256(data).hexdigest()


def main() -> None:
    """Write expected.json."""
    found = {name_of(path): facts_of(path.read_bytes()) for path in files()}
    text = json.dumps(found, indent=1, ensure_ascii=False)
    RECORD.write_text(compact_lists(text) + "\n", encoding="utf-8")


def compact_lists(text: str) -> str:
    """JSON with each list of numbers or strings on one line."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        if inside:
            lines[-1] += line.strip() + " " * line.endswith(",")
            inside = "]" not in line
            lines[-1] = lines[-1].rstrip()
        else:
            lines.append(line)
            inside = line.endswith("[") and '"members"' not in line
    return "\n".join(lines)


if __name__ == "__main__":
    main()
