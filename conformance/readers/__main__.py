"""Print the contents of files: images, shapes, and the SHA-256 of all pixels.

    python -m conformance.readers FILE...

The exit code is 1 if a file must be refused.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

from conformance.readers import BadArchiveError, Images, SizedImages, read_members


def pixel_bytes(member: Images | SizedImages) -> bytes:
    """The bytes of all pixels."""
    return b"".join(image.tobytes() for image in member.pixels)


def shapes_of(member: Images | SizedImages) -> list:
    """[N, H, W, C], or a list of [H, W, C] if images have any sizes."""
    if isinstance(member, SizedImages):
        return [list(image.shape) for image in member.pixels]
    return list(member.pixels.shape)


def main() -> None:
    """Print one line of JSON for each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    for path in parser.parse_args().files:
        try:
            members = read_members(path.read_bytes())
        except BadArchiveError as error:
            sys.exit(f"{path}: {error}")
        facts = {
            "file": path.name,
            "images": sum(len(member.pixels) for member in members),
            "shapes": [shapes_of(member) for member in members],
            "pixels_sha256": hashlib.sha256(b"".join(map(pixel_bytes, members))).hexdigest(),
        }
        print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
