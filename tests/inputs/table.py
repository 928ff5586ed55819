"""The table of inputs and outcomes as a page: what docs/inputs.md holds."""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from inputs.case import Case, Group
from inputs.outcome import Outcome, assert_expected, outcome_of

HEAD = """# Inputs and what comes of them

Each line is a test: another program writes real files, smalti opens them, and what it reads is compared with what that
program says: pixels exactly, and order, names, labels, class names and fields. (JPEG and lossy WebP are decoded by
imagecodecs for that.) The page is written by `make inputs` from `tests/inputs`, and a test holds it up to
date. The rules behind it are in [images.md](images.md).

Shapes are height x width, then the channels: L is grey, A alpha. What is passed over ends the command line with exit
code 3, or 1 and nothing written under `--strict`; a refusal ends it with 1. In the tables of image files, one that is
passed over lies beside a good one, `z.png`. Reasons end with `...` where words of another library follow.
"""

_MODES = ("L", "LA", "RGB", "RGBA")
_SHOWN = 4  # values and names of a list, before it is cut short
_LINE = 200  # of a reason, which may list what there is
_FOREIGN = re.compile(
    r"(damaged or unreadable: |damaged one \(|cannot be read: |cannot be read as Zarr: |is no JSON \().*"
)  # words that follow are of Pillow or others

Sections = Mapping[str, Sequence[Case]]


def page(sections: Sections) -> str:
    """Run every case and return the page."""
    return "\n".join([HEAD, *(text for title, cases in sections.items() for text in _section(title, cases))])


def _section(title: str, cases: Sequence[Case]) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| input | made by | images | what is known of them | passed over, or refused |"
    yield "|---|---|---|---|---|"
    for case in cases:
        with tempfile.TemporaryDirectory() as folder, case.made(Path(folder)) as made:
            outcome = outcome_of(made, Path(folder))
            assert_expected(outcome, made)
            yield row(case, outcome)
    yield ""


def row(case: Case, outcome: Outcome) -> str:
    """A case and its outcome as a line of the table."""
    images = "; ".join(_images(group) for group in outcome.groups)
    known = " / ".join(_known(group) or "-" for group in outcome.groups).removeprefix(
        "-" if len(outcome.groups) == 1 else ""
    )
    told = "; ".join(f"{_code(name)}: {_words(reason)}" for name, reason in outcome.skipped)
    refused = "" if outcome.error is None else f"refused: {_words(outcome.error)}"
    return f"| {' | '.join(_cell(text) for text in (case.what, case.maker, images, known, told or refused))} |"


def _images(group: Group) -> str:
    count, height, width, channels = group.pixels.shape
    deep = ", 16 bits" if group.pixels.dtype == np.uint16 else ""
    return f"{count} of {height}x{width} {_MODES[channels - 1]}{deep}"


def _known(group: Group) -> str:
    parts = [f"names {_listed(group.names)}"] if group.names is not None else []
    if group.labels is not None:
        classes = "" if group.class_names is None else f" ({', '.join(group.class_names)})"
        parts.append(f"labels {_listed(group.labels)}{classes}")
    return "; ".join([*parts, *(f"`{name}` {_listed(values)}" for name, values in group.fields.items())])


def _listed(values: Sequence[object]) -> str:
    some = ", ".join("-" if value is None else str(value) for value in values[:_SHOWN])
    return some if len(values) <= _SHOWN else f"{some}, ..."


def _code(name: str) -> str:
    return f"`{name}`"


def _words(reason: str) -> str:
    ours = _FOREIGN.sub(r"\1...", reason)
    return ours if len(ours) <= _LINE else f"{ours[:_LINE]} ..."


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
