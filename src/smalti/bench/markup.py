"""A table as data, and its two renderings: HTML and Markdown."""

from dataclasses import dataclass
from html import escape

__all__ = ["Table", "signed", "to_html", "to_markdown"]

LONG_NAME = 16
"""Letters from which on the names of rows are wrapped, so that numbers are in sight on a narrow screen."""


@dataclass(frozen=True)
class Table:
    """A table of plain text.

    heading : what stands above it; note : what a reader must know to read it
    columns : the titles; rows : as many cells each, the first of which names the row
    strong : rows (by number) to bring out
    """

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    strong: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"row {row} has {len(row)} cells for the {len(self.columns)} columns {self.columns}")


def signed(value: float, digits: int) -> str:
    """Return a number with its sign, a true minus for those below zero."""
    return f"{value:+.{digits}f}".replace("-", "−")


def to_html(table: Table) -> str:
    """Return the table as HTML; its text is escaped."""
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in table.columns)
    body = []
    for number, row in enumerate(table.rows):
        cells = f'<th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        strong = ' class="strong"' if number in table.strong else ""
        body.append(f"<tr{strong}>{cells}</tr>")
    words = ' class="words"' if max((len(row[0]) for row in table.rows), default=0) > LONG_NAME else ""
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<figure class="table"><figcaption>{escape(table.heading)}</figcaption>'
        f'<div class="scroll" tabindex="0"><table{words}><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>{note}</figure>"
    )


def to_markdown(table: Table) -> str:
    """Return the table as Markdown, its heading in bold above."""
    columns = tuple(title.replace("|", "\\|") for title in table.columns)
    lines = [_line(columns), _line(("---",) + ("---:",) * (len(table.columns) - 1))]
    for number, row in enumerate(table.rows):
        cells = tuple(cell.replace("|", "\\|") for cell in row)
        lines.append(_line((f"**{cells[0]}**", *cells[1:]) if number in table.strong else cells))
    note = f"\n\n{table.note}" if table.note else ""
    return f"**{table.heading}**\n\n" + "\n".join(lines) + note + "\n"


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
