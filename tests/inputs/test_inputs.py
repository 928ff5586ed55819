"""Every case has the outcome that it must have, and the committed table states it."""

from pathlib import Path

import pytest

from inputs.case import Case
from inputs.cases import SECTIONS
from inputs.outcome import assert_expected, outcome_of
from inputs.table import HEAD, row

PAGE = (Path(__file__).parents[2] / "docs" / "inputs.md").read_text("utf-8")
CASES = [
    pytest.param(case, title, id=f"{title}-{case.what}-{case.maker}")
    for title, cases in SECTIONS.items()
    for case in cases
]


@pytest.mark.parametrize(("case", "title"), CASES)
def test_what_comes_of_an_input(case: Case, title: str, tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    with case.made(root) as made:
        outcome = outcome_of(made, root)
        assert_expected(outcome, made)
    section = PAGE.split(f"\n## {title}\n")[-1].split("\n## ")[0]
    assert row(case, outcome) in section.splitlines(), "the table is out of date: run `make inputs`"


def test_the_table_has_no_other_lines() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| input |")]
    assert len(rows) == len(CASES)
    assert PAGE.startswith(HEAD)
