"""What the documentation names is there: files, modules, and the targets of links."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "src" / "smalti"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / name / "README.md" for name in ("acceptance", "benchmarks", "conformance", "findings")),
    ]
)
HISTORY = "docs/decisions/"  # decisions speak of the tree of their time
CURRENT = [page for page in PAGES if HISTORY not in page.as_posix()]

CODE = re.compile(r"`([^`\n]+)`")
PROGRAM = re.compile(r"(?<![\w./-])([\w-]+(?:/[\w-]+)*\.py)\b")
FOLDER = re.compile(r"(?<![\w./<-])((?:[a-z_]+/)+)(?![\w*<{-])")
MODULE = re.compile(r"(?<![\w./-])smalti((?:\.[A-Za-z_]\w*)+)")
RUN = re.compile(r"python -m ((?!smalti\b|pip\b|venv\b|pytest\b)[a-z_][a-z0-9_.]*)")
IMPORT = re.compile(r"from smalti((?:\.\w+)*) import (\w+(?:, \w+)*)")
LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _exists(name: str, page: Path) -> bool:
    return any((folder / name).exists() for folder in (ROOT, SOURCES, page.parent))


@cache
def _names_of(module: Path) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", module.read_text()))


def _is_in_package(dotted: str) -> bool:
    """Whether `.a.b.c` is a module below smalti, or a name that stands in one."""
    folder, parts = SOURCES, dotted.strip(".").split(".")
    for number, part in enumerate(parts):
        if (folder / part).is_dir():
            folder = folder / part
            continue
        module, rest = folder / f"{part}.py", parts[number + 1 :]
        if not module.is_file():
            module, rest = folder / "__init__.py", parts[number:]
        return set(rest) <= _names_of(module)
    return True


def _anchor(heading: str) -> str:
    """The fragment that a heading gets on GitHub."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain).strip().lower().replace(" ", "-")


def _leads_somewhere(link: str, page: Path) -> bool:
    target, _, fragment = link.partition("#")
    found = page.parent / target if target else page
    if not fragment or not found.is_file():
        return found.exists()
    return fragment in {_anchor(heading) for heading in HEADING.findall(found.read_text())}


@pytest.mark.parametrize("page", CURRENT, ids=_name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text()
    named = {name for code in CODE.findall(text) for name in PROGRAM.findall(code)}
    named |= set(PROGRAM.findall("\n".join(FENCE.findall(text))))
    assert [name for name in sorted(named) if not _exists(name, page)] == []


def test_folders_that_the_map_names_are_there() -> None:
    page = ROOT / "docs" / "architecture.md"
    named = {name for code in CODE.findall(page.read_text()) for name in FOLDER.findall(code)}
    assert named
    assert [name for name in sorted(named) if not _exists(name, page)] == []


@pytest.mark.parametrize("page", CURRENT, ids=_name)
def test_modules_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text()
    named = {
        *MODULE.findall(text),
        *(f"{home}.{name}" for home, names in IMPORT.findall(text) for name in names.split(", ")),
    }
    assert [f"smalti{name}" for name in sorted(named) if not _is_in_package(name)] == []


@pytest.mark.parametrize("page", CURRENT, ids=_name)
def test_programs_that_a_page_runs_are_there(page: Path) -> None:
    named = set(RUN.findall(page.read_text()))
    paths = {name: ROOT / name.rstrip(".").replace(".", "/") for name in named}
    assert [name for name, path in paths.items() if not (path.with_suffix(".py").exists() or path.is_dir())] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(FENCE.sub("", page.read_text()))
    assert [link for link in links if "://" not in link and not _leads_somewhere(link, page)] == []
