"""The table of inputs and outcomes as a page, docs/inputs.md."""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from inputs.case import Case, Group
from inputs.outcome import Outcome, assert_expected, outcome_of

HEAD = """# Inputs and their outcomes

Each line is a test. Another program writes real files, smalti reads them, and the result is compared with the data of
that program: pixels, order, names, labels, class names and fields must be the same. (For JPEG and lossy WebP, the
pixels are those of imagecodecs.) `make inputs` writes this page from `tests/inputs`, and a test fails if it is out of
date. The rules are in [images.md](images.md).

Shapes are height x width, then the channels: L is grey, A is alpha. If something is skipped, the command line ends with
exit code 3; with `--strict`, it writes nothing and ends with 1. A refusal ends with 1. In the tables of image files,
each file that is skipped lies beside a good one, `z.png`. Reasons end with `...` where words of another library follow.
"""

_MODES = ("L", "LA", "RGB", "RGBA")
_SHOWN = 4  # values and names of a list, before it is cut short
_LINE = 200  # letters of a reason, which may be a long list
_FOREIGN = re.compile(
    r"(damaged or unreadable: |damaged one \(|cannot be read: |cannot be read as Zarr: |is no JSON \().*"
)  # words that follow are those of Pillow or other libraries

Sections = Mapping[str, Sequence[Case]]


def page(sections: Sections) -> str:
    """Run every case and return the page."""
    return "\n".join([HEAD, *(text for title, cases in sections.items() for text in _section(title, cases))])


def _section(title: str, cases: Sequence[Case]) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| input | made by | images | columns | skipped, or refused |"
    yield "|---|---|---|---|---|"
    for case in cases:
        with tempfile.TemporaryDirectory() as folder, case.made(Path(folder)) as made:
            outcome = outcome_of(made, Path(folder))
            assert_expected(outcome, made)
            yield row(case, outcome)
    yield ""


def row(case: Case, outcome: Outcome) -> str:
    """Return a case and its outcome as a line of the table."""
    images = "; ".join(_images(group) for group in outcome.groups)
    columns = " / ".join(_columns(group) or "-" for group in outcome.groups).removeprefix(
        "-" if len(outcome.groups) == 1 else ""
    )
    skipped = "; ".join(f"{_code(name)}: {_words(reason)}" for name, reason in outcome.skipped)
    refused = "" if outcome.error is None else f"refused: {_words(outcome.error)}"
    return f"| {' | '.join(_cell(text) for text in (case.what, case.maker, images, columns, skipped or refused))} |"


def _images(group: Group) -> str:
    count, height, width, channels = group.pixels.shape
    deep = {np.dtype(np.uint16): ", 16 bits", np.dtype(np.int16): ", 16 bits, signed"}.get(group.pixels.dtype, "")
    return f"{count} of {height}x{width} {_MODES[channels - 1]}{deep}"


def _columns(group: Group) -> str:
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
