"""The study's report: figures as PNG, tables as Markdown, and one self-contained HTML page.

It reads the results in a folder and measures nothing. Where a part was not run, the page says so.
"""

import base64
from html import escape
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from smalti.bench.records import write_text
from smalti.bench.style import to_html, to_markdown
from smalti.errors import SourceError
from smalti.study.classical import ClassicalResult
from smalti.study.page.narrative import NOT_RUN, protocol_words
from smalti.study.page.sections import Illustration, ReportSection, write_sections
from smalti.study.results import StudyInfo, read_amortisation, read_runs
from smalti.study.selection import Study
from smalti.study.vae import VaeResult
from smalti.version import __version__

__all__ = ["build_report", "read_study"]

TITLE = "The codebook study, repeated"
PAGE_NAME = "report.html"
TABLES_NAME = "tables.md"


def read_study(folder: Path) -> Study:
    """Return all measurements in the study's folder; SourceError names a file of another release."""
    return Study(
        read_runs(folder),
        ClassicalResult.read(folder),
        VaeResult.read(folder),
        read_amortisation(folder),
        StudyInfo.read(folder),
    )


def build_report(folder: Path) -> Path:
    """Draw the figures and write the tables and the page of the results in `folder`; return the page's path.

    Writes FOLDER/figures/*.png, FOLDER/tables.md and FOLDER/report.html. SourceError if there is no finished run.
    """
    study = read_study(folder)
    if not study.runs:
        raise SourceError(f"there are no finished runs in {folder / 'runs'}; run smalti study first")
    sections = write_sections(study, folder)
    tables = [to_markdown(table) for section in sections for table in section.tables]
    write_text(folder / TABLES_NAME, "\n".join(tables))
    page = folder / PAGE_NAME
    write_text(page, _render(study, sections))
    return page


def _render(study: Study, sections: tuple[ReportSection, ...]) -> str:
    environment = Environment(
        loader=PackageLoader("smalti.study.page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html").render(
        title=TITLE,
        lead="“Neural Compression System: A Comprehensive Study on Codebook Efficiency for MNIST Dataset Compression” "
        f"(Guszkiewicz) trains one VQ-VAE per codebook size. Here are several seeds of each. {protocol_words(study)}",
        sections=[
            {
                "anchor": section.anchor,
                "heading": section.heading,
                "paragraphs": [_unbroken(paragraph) for paragraph in section.paragraphs],
                "verdict": section.verdict,
                "parts": [_picture(each) for each in section.illustrations]
                + [Markup(to_html(table)) for table in section.tables],
            }
            for section in sections
        ],
        facts=_facts(study),
        not_run=NOT_RUN,
    )


def _unbroken(text: str) -> str:
    """Return text with unbreakable spaces in "K = 128"."""
    return text.replace("K = ", "K\u00a0=\u00a0")


def _picture(illustration: Illustration) -> Markup:
    data = base64.b64encode(illustration.path.read_bytes()).decode("ascii")
    return Markup(
        f'<figure class="picture"><img alt="{escape(illustration.description)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(illustration.caption)}</figcaption></figure>"
    )


def _facts(study: Study) -> list[tuple[str, str]]:
    """Return the facts that a reader needs to repeat the measurements."""
    machines = sorted({run.machine for run in study.runs})
    facts = [("Training", "; ".join(machines))]
    if study.info is not None:
        facts.insert(0, ("Command", study.info.command))
        facts.append(("Release", f"smalti {study.info.smalti_version}"))
    else:
        facts.append(("Release", f"report by smalti {__version__}"))
    if study.classical is not None:
        versions = ", ".join(f"{name} {version}" for name, version in sorted(study.classical.versions.items()))
        facts += [("Codecs", f"{versions}; {study.classical.machine}"), ("Codecs by", study.classical.command)]
    if study.vae is not None:
        facts.append(("VAE by", f"{study.vae.command}; {study.vae.machine}"))
    return facts
