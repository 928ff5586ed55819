from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image

from helpers.made_up_study import INFO, made_up_runs, made_up_study, write_study
from smalti.errors import SourceError
from smalti.study.page.report import build_report, read_study
from smalti.study.selection import Study

SMALLEST = Study(made_up_runs(seeds=1, sizes=(64,), variants=("paper",)))


class Page(HTMLParser):
    """Collects the resources of a page and its open tags."""

    def __init__(self):
        super().__init__()
        self.fetched, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.fetched += [value for name, value in attrs if name in {"src", "href", "srcset"}]
        if tag not in {"meta", "img", "link", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    write_study(replace(made_up_study(), info=INFO), folder)
    return build_report(folder)


def test_page_needs_nothing_but_itself(whole):
    text = whole.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in page.fetched)
    assert "<script" not in text
    assert len(text) < 3_000_000


def test_page_names_command_and_machine(whole):
    text = whole.read_text(encoding="utf-8")
    assert INFO.command in text
    assert "2 cores of a made-up processor" in text
    assert "Not run." not in text


def test_figures_are_small_and_of_one_width(whole):
    drawn = sorted((whole.parent / "figures").glob("*.png"))
    assert [path.stem for path in drawn] == [
        "amortisation",
        "atlas-cured",
        "atlas-paper",
        "collapse",
        "digits",
        "quality",
        "rate-distortion",
    ]
    for path in drawn:
        with Image.open(path) as image:
            assert image.width == 750
            assert len(image.getcolors(256)) > 5  # something was drawn
        assert path.stat().st_size < 150_000


def test_tables_are_written_as_markdown(whole):
    assert "| K | seeds | MSE, first 100 |" in (whole.parent / "tables.md").read_text(encoding="utf-8")


def test_one_run_alone_makes_a_report(tmp_path):
    SMALLEST.runs[0].write(tmp_path)
    text = build_report(tmp_path).read_text(encoding="utf-8")
    assert "Nothing can be said" in text
    assert text.count("Not run.") == 4  # cured, pictures, baselines, amortisation


def test_without_runs_there_is_no_report(tmp_path):
    with pytest.raises(SourceError, match="no finished runs"):
        build_report(tmp_path)


def test_a_result_of_another_release_is_named(tmp_path):
    write_study(SMALLEST, tmp_path)
    (tmp_path / "classical.json").write_text('{"codecs": []}')
    with pytest.raises(SourceError, match=r"classical\.json"):
        build_report(tmp_path)


def test_study_is_read_as_it_was_written(tmp_path):
    study = replace(made_up_study(), info=INFO)
    write_study(study, tmp_path)
    assert read_study(tmp_path) == replace(
        study, runs=tuple(sorted(study.runs, key=lambda run: (run.variant, run.codebook_size, run.seed)))
    )
