"""Tables of the baselines: the VAE's curve, matched quality, and break-even with the archive that carries its model."""

from dataclasses import dataclass

from smalti.bench.matching import Matched
from smalti.bench.style import Table
from smalti.study.classical import CodecCurve
from smalti.study.page.tables import with_deviation
from smalti.study.results import break_even_images
from smalti.study.selection import Study, Target, targets
from smalti.study.statistics import summary_of

__all__ = ["Rival", "break_even_table", "matched_table", "rivals", "vae_table"]

NOT_REACHED = "never"


@dataclass(frozen=True)
class Rival:
    """A codec without a model to carry, and its bytes per image at the MSE of the study's system."""

    name: str
    mode: str
    bytes_per_image: float

    @property
    def title(self) -> str:
        """The codec and how it was run."""
        return f"{self.name}, {_mode(self.mode)}"


def rivals(study: Study) -> tuple[Rival, ...]:
    """Return every classical codec that reaches the MSE of the reference runs, cheapest first."""
    if study.classical is None or not study.reference():
        return ()
    wanted = targets(study)[0]
    reached = [(curve, wanted.reached_by(curve.points)) for curve in study.classical.curves]
    found = [Rival(curve.codec, curve.mode, matched.bytes_per_image) for curve, matched in reached if matched]
    return tuple(sorted(found, key=lambda rival: rival.bytes_per_image))


def break_even_table(study: Study) -> Table | None:
    """Return from how many images on the archive beats each codec at equal MSE; None if that was not measured."""
    found = rivals(study)
    if not found or not study.amortisation:
        return None
    last = study.amortisation[-1].images
    rows = []
    for rival in found:
        even = break_even_images(study.amortisation, rival.bytes_per_image)
        told = f"{even:,}" if even else f"not up to {last:,}"
        rows.append((rival.title, f"{rival.bytes_per_image:.1f}", told))
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
    """Return what every baseline must spend for the quality of the study's system; None if none was run."""
    if study.classical is None and study.vae is None:
        return None
    wanted = targets(study)
    rows, strong = _own_rows(study, len(wanted))
    rows += _vae_rows(study, wanted)
    if study.classical is not None:
        rows += [
            (f"{curve.codec}, {_mode(curve.mode)}{_subset(curve.images, study)}", *_cells(curve, wanted))
            for curve in sorted(study.classical.curves, key=lambda curve: (curve.lossless, curve.mode == "each"))
        ]
    return Table(
        "Bytes per image at matched quality, all test images",
        ("codec", *(target.name for target in wanted)),
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
    size, model = runs[0].codebook_size, summary_of([float(run.archive.bytes.model) for run in runs]).mean
    coded = summary_of([run.archive.bytes_per_image for run in runs]).mean
    fixed = runs[0].fixed_length_bytes_per_image
    model_note = f"and a model of {model / 1e6:.2f} MB"
    own = [f"{coded:.1f}"] * (columns - 1)
    counted = [f"{fixed:.1f}"] * (columns - 1)
    rows: list[tuple[str, ...]] = [(f"VQ-VAE K = {size}, archive {model_note}", *own, "–")]
    if study.amortisation:
        last = study.amortisation[-1]
        carried = f"{last.archive_bytes / last.images:.1f}"
        rows.append(
            (
                f"VQ-VAE K = {size}, {last.images:,} images and the model (run of median MSE)",
                *[carried] * (columns - 1),
                "–",
            )
        )
    rows.append((f"VQ-VAE K = {size}, fixed-length tokens, not coded", *counted, "–"))
    return rows, [0]


def _vae_rows(study: Study, wanted: tuple[Target, ...]) -> list[tuple[str, ...]]:
    if study.vae is None:
        return []
    cells = []
    for target in wanted:
        reached = [target.reached_by(run.points) for run in study.vae.runs]
        found = [each.bytes_per_image for each in reached if each is not None]
        cells.append(with_deviation(found, 1) if len(found) == len(reached) else NOT_REACHED)
    decoder = study.vae.runs[0].decoder_bytes / 1e6
    return [(f"VAE, {study.vae.settings.latents} latents, and a decoder of {decoder:.2f} MB", *cells)]


def _cells(curve: CodecCurve, wanted: tuple[Target, ...]) -> tuple[str, ...]:
    if curve.lossless:
        return (f"{curve.points[0].bytes_per_image:.1f}",) * len(wanted)
    return tuple(_matched(target.reached_by(curve.points)) for target in wanted)


def _matched(matched: Matched | None) -> str:
    if matched is None:
        return NOT_REACHED
    return f"{matched.bytes_per_image:.1f}{'*' if matched.coarsest else ''}"


def _mode(mode: str) -> str:
    return {"each": "own files", "mosaic": "mosaic", "stream": "one stream"}[mode]


def _subset(images: int, study: Study) -> str:
    whole = study.classical.images if study.classical is not None else images
    return "" if images == whole else f" (first {images:,})"
