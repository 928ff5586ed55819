"""The structure of a checkout: its files, names that recur, circles of imports, and how many files two calls walk.

    python -m benchmarks.structure -o results/structure.json
    python -m benchmarks.structure --root OTHER_CHECKOUT    # an older commit, say of `git worktree add`

Lines are those of the sources below src/smalti. The two calls run in a fresh process on that checkout's code: packing
digits with a model that is fitted for one epoch, and reading one image of a golden file.
"""

import argparse
import ast
import re
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import harness
from benchmarks.harness import ROOT, Findings
from benchmarks.processes import in_fresh_process

NAME = "benchmarks.structure"
SHORT_LINES = 60
KINDS = re.compile(
    r"\"(pyramid|integer)\""
    r"|isinstance\([^)]*(Pyramid(Network|Prior|Model)|IntegerNetwork|TokenModel|TorchIntegerDecoder|[ (]Model)\b"
)
OF_KINDS = {"decoders", "pyramid", "integer", "torch_decoders", "training"}
"""Packages that are about one kind of decoder or another."""

SLICE = ROOT / "tests" / "data" / "mnist_slice.npz"
GOLDEN = ROOT / "conformance" / "golden" / "format-1-digits.smalti"


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout")


def measure(arguments: argparse.Namespace) -> Findings:
    """Count what the sources say, then walk the two calls."""
    sources = {path: path.read_text("utf-8") for path in sorted((arguments.root / "src" / "smalti").rglob("*.py"))}
    lines = {path: len(text.splitlines()) for path, text in sources.items()}
    own = {path: count for path, count in lines.items() if path.name != "__init__.py"}
    trees = {path: ast.parse(text) for path, text in sources.items()}
    largest = max(lines, key=lambda path: lines[path])
    classes = [node.name for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "digits.npy"
        with np.load(SLICE) as digits:
            np.save(images, digits["images"][:64])
        variables = {"PYTHONPATH": f"{arguments.root / 'src'}:{ROOT}"}
        packing = in_fresh_process("benchmarks.walk", "compress", images, variables=variables)
        reading = in_fresh_process("benchmarks.walk", "read", GOLDEN, variables=variables)
    return Findings(
        {
            "files": len(lines),
            "files_besides_init": len(own),
            "lines": sum(lines.values()),
            "median_lines": statistics.median(lines.values()),
            "largest": f"{largest.relative_to(arguments.root / 'src' / 'smalti')}: {lines[largest]}",
            f"files_under_{SHORT_LINES}_lines": sum(count < SHORT_LINES for count in lines.values()),
            f"files_under_{SHORT_LINES}_lines_besides_init": sum(count < SHORT_LINES for count in own.values()),
            "repeated_file_names": _repeated([path.name for path in own]),
            "repeated_class_names": _repeated(classes),
            "import_circles": circles(trees, arguments.root / "src"),
            "imports_by_string": sum(len(re.findall(r"import_module\(", text)) for text in sources.values()),
            "tests_on_kinds_outside_decoders": sum(
                bool(KINDS.search(line))
                for path, text in sources.items()
                if not OF_KINDS & {part.removesuffix(".py") for part in path.parts}
                for line in text.splitlines()
            ),
            "compress": packing,
            "read": reading,
        }
    )


def _repeated(names: list[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def circles(trees: dict[Path, ast.Module], source: Path) -> list[list[str]]:
    """Groups of modules that import each other when they are loaded. Imports in functions do not count."""
    modules = {_module(path, source): path for path in trees}
    needs = {
        name: {found for found in _imports(trees[path].body, modules) if found != name}
        for name, path in modules.items()
    }
    reach = {name: _reachable(name, needs) for name in needs}
    found = {frozenset({name, *(other for other in reach[name] if name in reach[other])}) for name in needs}
    return sorted(sorted(group) for group in found if len(group) > 1)


def _module(path: Path, source: Path) -> str:
    return ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")


def _imports(body: list[ast.stmt], modules: dict[str, Path]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found = inner if inner in modules else node.module
                if found in modules:
                    yield found
        elif isinstance(node, ast.Try):
            yield from _imports(node.body, modules)


def _reachable(start: str, needs: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for name in needs[waiting.pop()] - found:
            found.add(name)
            waiting.append(name)
    return found


if __name__ == "__main__":
    harness.main(NAME, __doc__, declare, measure)
