"""Write docs/inputs.md, the table of inputs and their outcomes, from the cases in this folder.

    make inputs

Every case is run, and must have the expected outcome; so the page states only what is tested.
"""

from pathlib import Path

from inputs.cases import SECTIONS
from inputs.table import page

if __name__ == "__main__":
    (Path(__file__).parents[2] / "docs" / "inputs.md").write_text(page(SECTIONS), "utf-8")
