"""Make conformance/must_refuse, and must_refuse.json: the fault of each file, and how smalti refuses it.

    python -m conformance.make_must_refuse

The files are made from those in conformance/sound. Each has one fault. Every checksum is right, unless it is the fault.
Smalti is needed for its verdicts alone.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conformance.refused import (
    copied,
    envelope,
    headers,
    mixture_files,
    networks,
    others,
    payloads,
    pixel_files,
    transforms,
)
from conformance.refused.files import Case
from smalti.archive.open import open_images
from smalti.errors import DamagedArchiveError, SmaltiError

FOLDER = Path(__file__).parent / "must_refuse"
RECORD = Path(__file__).parent / "must_refuse.json"


def all_cases() -> Iterator[Case]:
    """All files, in order."""
    for module in (envelope, headers, networks, payloads, others, transforms, pixel_files, mixture_files, copied):
        yield from module.cases()


def verdict(path: Path) -> dict[str, Any] | None:
    """When smalti refuses a file, with which error and exit code; None if it finds no fault.

    when : "open"; or "test" if the file opens, because parts of it may be sound, and the check of all its bytes fails
    """
    try:
        images = open_images(path)
    except SmaltiError as error:
        return refusal("open", type(error))
    with images:
        try:
            if not images.verify("pixels").ok:
                return refusal("test", DamagedArchiveError)
        except SmaltiError as error:
            return refusal("test", type(error))
    return None


def refusal(when: str, error: type[SmaltiError]) -> dict[str, Any]:
    """The record of an error."""
    return {"when": when, "error": error.__name__, "exit_code": error.exit_code}


def main() -> None:
    """Write them all."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    record = {}
    for case in all_cases():
        path = FOLDER / f"{case.name}.smalti"
        path.write_bytes(case.data)
        facts = {"base": case.base or None, "reason": case.reason, "page": case.page, "section": case.section}
        found = verdict(path)
        if found is None:
            raise SystemExit(f"{path.name}: smalti finds nothing wrong")
        record[path.name] = facts | found
    RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
