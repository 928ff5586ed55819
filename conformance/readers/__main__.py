"""Print the contents of files: images, shapes, and the SHA-256 of all pixels.

    python -m conformance.readers FILE...

The exit code is 1 if a file must be refused.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

from conformance.readers import BadArchiveError, read_members


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
            "shapes": [list(member.pixels.shape) for member in members],
            "pixels_sha256": hashlib.sha256(b"".join(member.pixels.tobytes() for member in members)).hexdigest(),
        }
        print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
