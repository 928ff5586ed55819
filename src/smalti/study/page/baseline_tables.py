"""Tables of the baselines: the curve of the VAE, matched quality, and break-even with the archive and its model."""

from dataclasses import dataclass

from smalti.bench.style import Table
from smalti.peers.matching import Matched
from smalti.study.classical import CodecCurve
from smalti.study.page.tables import with_deviation
from smalti.study.results import break_even_images
from smalti.study.selection import Study, Target, targets
from smalti.study.statistics import mean_of

__all__ = ["Baseline", "baselines", "break_even_table", "matched_table", "vae_table"]

NOT_REACHED = "never"


@dataclass(frozen=True)
class Baseline:
    """A codec that carries no model, and its bytes per image at the MSE of the study's system."""

    name: str
    mode: str
    bytes_per_image: float

    @property
    def title(self) -> str:
        """The codec and its mode."""
        return f"{self.name}, {_mode(self.mode)}"


def baselines(study: Study) -> tuple[Baseline, ...]:
    """Return every classical codec that reaches the MSE of the reference runs, cheapest first."""
    if study.classical is None or not study.reference():
        return ()
    target = targets(study)[0]
    reached = [(curve, target.reached_by(curve.points)) for curve in study.classical.curves]
    found = [Baseline(curve.codec, curve.mode, matched.bytes_per_image) for curve, matched in reached if matched]
    return tuple(sorted(found, key=lambda baseline: baseline.bytes_per_image))


def break_even_table(study: Study) -> Table | None:
    """Return the number of images from which the archive beats each codec at equal MSE; None if not measured."""
    found = baselines(study)
    if not found or not study.amortisation:
        return None
    last = study.amortisation[-1].images
    rows = []
    for baseline in found:
        even = break_even_images(study.amortisation, baseline.bytes_per_image)
        from_images = f"{even:,}" if even else f"not up to {last:,}"
        rows.append((baseline.title, f"{baseline.bytes_per_image:.1f}", from_images))
    return Table(
        "Break-even at equal MSE: from how many images on the archive, model included, is smaller",
        ("codec", "bytes per image", "images"),
        tuple(rows),
        "Codecs whose coarsest setting is better than that MSE are taken at that setting.",
    )


def vae_table(study: Study) -> Table | None:
    """Return the VAE's rate and distortion by quantiser step; None if it was not run."""
    if study.vae is None:
        return None
    rows = []
    for number, step in enumerate(study.vae.settings.steps):
        points = [run.points[number] for run in study.vae.runs]
        rows.append(
            (
                f"{step:g}",
                with_deviation([point.bytes_per_image for point in points], 1),
                with_deviation([point.mse for point in points], 4),
                with_deviation([point.ssim for point in points], 3),
            )
        )
    run = study.vae.runs[0]
    return Table(
        f"VAE with {study.vae.settings.latents} continuous latents, quantised and coded",
        ("step", "bytes per image", "MSE, all", "SSIM, all"),
        tuple(rows),
        f"{len(study.vae.runs)} seeds, {study.vae.settings.epochs} epochs each. Bytes are real, frequency tables "
        f"included; the decoder, {run.decoder_bytes / 1024:,.0f} Ko as float32, is not.",
    )


def matched_table(study: Study) -> Table | None:
    """Return the bytes of every baseline at the quality of the study's system; None if no baseline was run."""
    if study.classical is None and study.vae is None:
        return None
    goals = targets(study)
    rows, strong = _own_rows(study, len(goals))
    rows += _vae_rows(study, goals)
    if study.classical is not None:
        rows += [
            (f"{curve.codec}, {_mode(curve.mode)}{_subset(curve.images, study)}", *_cells(curve, goals))
            for curve in sorted(study.classical.curves, key=lambda curve: (curve.lossless, curve.mode == "each"))
        ]
    return Table(
        "Bytes per image at matched quality, all test images",
        ("codec", *(target.name for target in goals)),
        tuple(rows),
        "*: even its coarsest setting is better than asked, and the codec can be no cheaper. “never”: its finest "
        "setting measured falls short. Own files: each image its own file; mosaic: all in one image, the codec’s best "
        "case, in which no image can be read alone. The learned codecs’ bytes leave out their models, named beside.",
        frozenset(strong),
    )


def _own_rows(study: Study, columns: int) -> tuple[list[tuple[str, ...]], list[int]]:
    runs = study.reference()
    if not runs:
        return [], []
    size, model = runs[0].codebook_size, mean_of(runs, lambda run: run.archive.bytes.model)
    coded = mean_of(runs, lambda run: run.archive.bytes_per_image)
    fixed = runs[0].fixed_length_bytes_per_image
    model_note = f"and a model of {model / 1e6:.2f} MB"
    named = [(f"archive {model_note}", coded)]
    if study.amortisation:
        last = study.amortisation[-1]
        named.append((f"{last.images:,} images and the model (run of median MSE)", last.archive_bytes / last.images))
    named.append(("fixed-length tokens, not coded", fixed))
    rows = [(f"VQ-VAE K = {size}, {name}", *[f"{cost:.1f}"] * (columns - 1), "–") for name, cost in named]
    return rows, [0]


def _vae_rows(study: Study, goals: tuple[Target, ...]) -> list[tuple[str, ...]]:
    if study.vae is None:
        return []
    cells = []
    for target in goals:
        reached = [target.reached_by(run.points) for run in study.vae.runs]
        found = [each.bytes_per_image for each in reached if each is not None]
        cells.append(with_deviation(found, 1) if len(found) == len(reached) else NOT_REACHED)
    decoder = study.vae.runs[0].decoder_bytes / 1e6
    return [(f"VAE, {study.vae.settings.latents} latents, and a decoder of {decoder:.2f} MB", *cells)]


def _cells(curve: CodecCurve, goals: tuple[Target, ...]) -> tuple[str, ...]:
    if curve.lossless:
        return (f"{curve.points[0].bytes_per_image:.1f}",) * len(goals)
    return tuple(_matched(target.reached_by(curve.points)) for target in goals)


def _matched(matched: Matched | None) -> str:
    if matched is None:
        return NOT_REACHED
    return f"{matched.bytes_per_image:.1f}{'*' if matched.coarsest else ''}"


def _mode(mode: str) -> str:
    return {"each": "own files", "mosaic": "mosaic", "stream": "one stream"}[mode]


def _subset(images: int, study: Study) -> str:
    whole = study.classical.images if study.classical is not None else images
    return "" if images == whole else f" (first {images:,})"
