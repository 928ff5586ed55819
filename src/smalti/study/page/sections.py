"""The sections of the report: each combines words, figures and tables."""

from dataclasses import dataclass
from pathlib import Path

from smalti.bench.style import Table
from smalti.study.figures.pictures import draw_atlas, draw_digits
from smalti.study.figures.quality import draw_collapse, draw_quality
from smalti.study.figures.rate import draw_amortisation, draw_rate_distortion
from smalti.study.page.baseline_tables import baselines, break_even_table, matched_table, vae_table
from smalti.study.page.conclusion import write_conclusion
from smalti.study.page.narrative import (
    NOT_RUN,
    ablation_words,
    amortisation_words,
    classical_words,
    collapse_words,
    cured_words,
    rate_words,
    reproduction_words,
    vae_words,
)
from smalti.study.page.tables import ablation_table, comparison_table, quality_table, rate_table
from smalti.study.results import Pictures, RunResult
from smalti.study.runs import CURED, PAPER
from smalti.study.selection import VARIANT_NAMES, Study

__all__ = ["Illustration", "ReportSection", "write_sections"]


@dataclass(frozen=True)
class Illustration:
    """A figure on disk, its caption, and a description for readers who cannot see it."""

    path: Path
    caption: str
    description: str


@dataclass(frozen=True)
class ReportSection:
    """A section: its words, figures and tables. `verdict` emphasises the words."""

    anchor: str
    heading: str
    paragraphs: tuple[str, ...]
    illustrations: tuple[Illustration, ...] = ()
    tables: tuple[Table, ...] = ()
    verdict: bool = False


def write_sections(study: Study, folder: Path) -> tuple[ReportSection, ...]:
    """Draw the figures of a study into FOLDER/figures and return the report's sections."""
    figures = folder / "figures"
    return (
        ReportSection(
            "conclusion", "Is the study’s conclusion borne out?", (write_conclusion(study.of(PAPER)),), verdict=True
        ),
        _quality_section(study, figures),
        _rate_section(study, figures),
        _cured_section(study),
        _pictures_section(study, folder),
        _baselines_section(study, figures),
        _amortisation_section(study, figures),
    )


def _present(*tables: Table | None) -> tuple[Table, ...]:
    return tuple(table for table in tables if table is not None and table.rows)


def _quality_section(study: Study, figures: Path) -> ReportSection:
    path = figures / "quality.png"
    draw_quality(study, path)
    picture = Illustration(
        path,
        "Figure 3. MSE and SSIM on the first 100 test images, as the study reports them. Pale: each seed; dark: mean "
        "and standard deviation; diamonds: the study’s Table 1.",
        "Two panels of MSE and SSIM against codebook size; the numbers are in the table that follows.",
    )
    tables = _present(quality_table(study), comparison_table(study))
    return ReportSection("quality", "Table 1, over seeds", (reproduction_words(study),), (picture,), tables)


def _rate_section(study: Study, figures: Path) -> ReportSection:
    path = figures / "collapse.png"
    draw_collapse(study, path)
    picture = Illustration(
        path,
        "Codes that occur at least once among the test images’ tokens, against the size of the codebook. Pale: each "
        "seed; line: mean.",
        "Codes used against codebook size; the numbers are in the tables of this section and the next.",
    )
    paragraphs = (collapse_words(study), rate_words(study))
    return ReportSection(
        "rate", "Codes in use, and what they cost", paragraphs, (picture,), _present(rate_table(study))
    )


def _cured_section(study: Study) -> ReportSection:
    tables = _present(quality_table(study, CURED), rate_table(study, CURED), ablation_table(study))
    words = (cured_words(study), ablation_words(study))
    # If neither was run, say so only once.
    return ReportSection("cured", "The collapse cured", tuple(dict.fromkeys(words)), tables=tables)


def _pictures_section(study: Study, folder: Path) -> ReportSection:
    first = {size: study.of(PAPER, size)[0] for size in study.sizes(PAPER)}
    rows = {f"K = {size}": Pictures.read(folder, run.name) for size, run in first.items()}
    drawn = {name: pictures for name, pictures in rows.items() if pictures is not None}
    illustrations = []
    if drawn:
        path = folder / "figures" / "digits.png"
        draw_digits(drawn, path)
        illustrations.append(
            Illustration(
                path,
                "Figure 4. The first test digits and their reconstructions by the study’s system, first seed.",
                "Rows of handwritten digits: the originals, and reconstructions for each codebook size.",
            )
        )
    for run in (*study.reference()[:1], *study.of(CURED)[:1]):
        illustrations += _atlas(run, folder)
    paragraphs = () if illustrations else (NOT_RUN,)
    return ReportSection("pictures", "Digits and codebooks", paragraphs, tuple(illustrations))


def _atlas(run: RunResult, folder: Path) -> list[Illustration]:
    pictures = Pictures.read(folder, run.name)
    if pictures is None or not len(pictures.atlas):
        return []
    path = folder / "figures" / f"atlas-{run.variant}.png"
    drawn = draw_atlas(pictures, path)
    which = f"{len(pictures.atlas)} codes in use" if drawn == len(pictures.atlas) else f"{drawn} most used codes"
    return [
        Illustration(
            path,
            f"The {which} of K = {run.codebook_size}, {VARIANT_NAMES[run.variant]}, seed {run.seed}. Each stands "
            "alone amid the most used one (middle of the image), with its share of the test images’ tokens.",
            "A grid of small grey patches, one for each code, with percentages.",
        )
    ]


def _baselines_section(study: Study, figures: Path) -> ReportSection:
    path = figures / "rate-distortion.png"
    draw_rate_distortion(study, path)
    picture = Illustration(
        path,
        "Rate and distortion on the test images. Classical codecs as one mosaic of all images (solid) and as one file "
        "for each image (dashed). Learned codecs without their models; their files’ headers are counted.",
        "Two panels of MSE and SSIM against bytes per image; the numbers at matched quality are in the table.",
    )
    words = tuple(dict.fromkeys((classical_words(study), vae_words(study))))
    return ReportSection(
        "baselines", "Beside other codecs", words, (picture,), _present(matched_table(study), vae_table(study))
    )


DRAWN_BASELINES = (("PNG", "each"), ("WebP", "each"), ("JPEG XL", "mosaic"), ("AVIF", "mosaic"))
"""The codecs in the figure of amortisation; the table has all of them."""


def _amortisation_section(study: Study, figures: Path) -> ReportSection:
    heading, words = "What the model costs", (amortisation_words(study),)
    if not study.amortisation:
        return ReportSection("amortisation", heading, words)
    path = figures / "amortisation.png"
    drawn = tuple(each for each in baselines(study) if (each.name, each.mode) in DRAWN_BASELINES)
    draw_amortisation(study.amortisation, drawn, path)
    picture = Illustration(
        path,
        "True compression ratio of archives that carry their model, against the number of images in them. Dashed: "
        "codecs that carry none, at equal MSE; rings: from there on the archive is smaller.",
        "Compression ratio against number of images; the break-even points are in the table.",
    )
    return ReportSection("amortisation", heading, words, (picture,), _present(break_even_table(study)))
