"""Which files of smalti a call enters: `benchmarks.structure` runs this in a fresh process, on any checkout.

    PYTHONPATH=CHECKOUT/src python -m benchmarks.walk compress IMAGES.npy
    PYTHONPATH=CHECKOUT/src python -m benchmarks.walk read ARCHIVE

It needs nothing of smalti but the command line and `smalti.open`, so that older commits can be walked too.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import smalti
from smalti.cli import run


def walk(call: str, file: Path) -> str:
    """Files of smalti that a call enters, and those on the stack where it arrives, as JSON.

    A packing arrives where the first frame is written, a reading where tokens become pixels.
    """
    entered: set[str] = set()
    arrived: list[str] = []
    goal = re.compile(r"FrameWriter\.(?!__init__)" if call == "compress" else r"IntegerDecoder\.decode$")

    def watch(frame: Any, event: str, _: Any) -> None:
        if event == "call" and (name := _of_smalti(frame)) is not None:
            entered.add(name)
            if not arrived and goal.match(frame.f_code.co_qualname):
                while frame is not None:
                    if (name := _of_smalti(frame)) is not None and name not in arrived:
                        arrived.append(name)
                    frame = frame.f_back

    _begin(call, file, watch)
    return json.dumps({"files_entered": len(entered), "files_on_the_way": len(arrived), "way": arrived[::-1]})


def _begin(call: str, file: Path, watch: Any) -> None:
    if call == "compress":
        out = file.with_suffix(".smalti")
        words = ["compress", str(file), "-o", str(out), "--epochs", "1", "--profile", "paper", "-q", "--threads", "1"]
        sys.setprofile(watch)
        code = run(words)
        sys.setprofile(None)
        if code:
            sys.exit(f"smalti compress ended with {code}")
        return
    with smalti.open(file) as archive:
        sys.setprofile(watch)
        archive[3]
        sys.setprofile(None)


def _of_smalti(frame: Any) -> str | None:
    """The file of a frame below src/smalti, or None; bodies of modules are no calls."""
    path = frame.f_code.co_filename
    inside = path.partition("/src/smalti/")[2]
    return inside if inside and frame.f_code.co_name not in {"<module>", "<lambda>"} else None


if __name__ == "__main__":
    print(walk(sys.argv[1], Path(sys.argv[2])))
