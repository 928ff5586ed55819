"""Write docs/inputs.md, the table of inputs and what comes of them, from the cases in tests/inputs.

    python scripts/write_inputs.py

Every case is run, and is an error if it is not read as it must be; so the page says nothing that a test does not.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from inputs.cases import SECTIONS  # noqa: E402 (it lies with the tests)
from inputs.table import page  # noqa: E402

if __name__ == "__main__":
    (ROOT / "docs" / "inputs.md").write_text(page(SECTIONS), "utf-8")
