"""Draw the figures of docs/speed.md from results of benchmarks.speed and benchmarks.loaders.

    python -m benchmarks.speed_plots results/speed.json results/interop/loaders.json -o docs/figures

Writes speed-reading.png (images a second of whole sets, two threads) and speed-loaders.png (shuffled batches).
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

COLUMNS = 3
SMALTI, OTHER = "#0b6e4f", "#9aa5b1"


def main() -> None:
    """Draw both figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed_plots",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("speed", type=Path)
    parser.add_argument("loaders", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    arguments = parser.parse_args()
    mpl.use("Agg")
    reading = {
        _title(case): {way: rates["2"] for way, rates in case["images_per_second"].items()}
        for case in _cases(arguments.speed)
    }
    loading = {
        _title(case): {form: _best(own) for form, own in case["images_per_second"].items()}
        for case in _cases(arguments.loaders)
    }
    draw(reading, "images a second, whole sets, 2 threads", arguments.output / "speed-reading.png")
    draw(loading, "images a second, shuffled batches, first epoch", arguments.output / "speed-loaders.png")


def _cases(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["figures"]["cases"]
    return found


def _title(case: Mapping[str, Any]) -> str:
    return str(case["case"])


def _best(own: Mapping[str, Any]) -> float:
    """The faster number of workers."""
    return float(max(rates["first epoch"]["from first batch"] for key, rates in own.items() if key.endswith("workers")))


def draw(sets: Mapping[str, Mapping[str, float]], label: str, path: Path) -> None:
    """A bar for each way to read a set, fastest first, on a logarithmic axis."""
    rows = -(-len(sets) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(4.4 * COLUMNS, 3 * rows), layout="constrained", squeeze=False)
    for panel in axes.ravel()[len(sets) :]:
        panel.set_axis_off()
    for title, panel in zip(sets, axes.ravel(), strict=False):
        ways = sorted(sets[title], key=lambda way: sets[title][way])
        _bars(panel, ways, [sets[title][way] for way in ways])
        panel.set_title(title, fontsize=10)
    figure.supxlabel(label, fontsize=9)
    figure.savefig(path, dpi=130)


def _bars(panel: Any, ways: Sequence[str], rates: Sequence[float]) -> None:
    panel.barh(ways, rates, color=[SMALTI if way.startswith("smalti") else OTHER for way in ways])
    panel.set_xscale("log")
    panel.set_xlim(min(rates) / 2, max(rates) * 6)
    for place, rate in enumerate(rates):
        panel.text(rate * 1.15, place, f"{rate:,.0f}", va="center", fontsize=8)
    panel.tick_params(labelsize=8)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


if __name__ == "__main__":
    main()
