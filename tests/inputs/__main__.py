"""Write docs/inputs.md, the table of inputs and what comes of them, from the cases in this folder.

    make inputs

Every case is run, and is an error if it is not read as it must be; so the page says nothing that a test does not.
"""

from pathlib import Path

from inputs.cases import SECTIONS
from inputs.table import page

if __name__ == "__main__":
    (Path(__file__).parents[2] / "docs" / "inputs.md").write_text(page(SECTIONS), "utf-8")
