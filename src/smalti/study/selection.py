"""Which of the study's runs and baselines a table or a figure is about."""

from dataclasses import dataclass

from smalti.bench.matching import Matched, RatePoint, at_matched
from smalti.study.classical import ClassicalResult
from smalti.study.results import STUDY_TABLE, AmortisationPoint, RunResult, StudyInfo
from smalti.study.runs import ABLATED, CURED, PAPER
from smalti.study.statistics import REFERENCE_SIZE, summary_of
from smalti.study.vae import VaeResult

__all__ = ["VARIANT_NAMES", "Study", "Target", "targets"]

VARIANT_NAMES = {
    PAPER: "as in the study",
    "ema": "moving averages",
    "kmeans": "k-means start",
    "restart": "restarts",
    "low-dim": "8-d codes",
    CURED: "all four cures",
}
"""What the variants are called before a reader."""


@dataclass(frozen=True)
class Study:
    """Everything that was measured; what was not is empty or None."""

    runs: tuple[RunResult, ...]
    classical: ClassicalResult | None = None
    vae: VaeResult | None = None
    amortisation: tuple[AmortisationPoint, ...] = ()
    info: StudyInfo | None = None

    def of(self, variant: str, codebook_size: int | None = None) -> tuple[RunResult, ...]:
        """Return the runs of a variant, of one codebook size or of all, by size and seed."""
        return tuple(
            run
            for run in self.runs
            if run.variant == variant and (codebook_size is None or run.codebook_size == codebook_size)
        )

    def sizes(self, variant: str) -> tuple[int, ...]:
        """Return the codebook sizes that a variant was run with, ascending."""
        return tuple(sorted({run.codebook_size for run in self.of(variant)}))

    def ablation_size(self) -> int | None:
        """Return the codebook size of the ablation, None if no single cure was run."""
        sizes = sorted({run.codebook_size for run in self.runs if run.variant in ABLATED})
        return REFERENCE_SIZE if REFERENCE_SIZE in sizes else (sizes[0] if sizes else None)

    def reference(self) -> tuple[RunResult, ...]:
        """Return the paper runs that baselines are compared with: K = 128, or the smallest size there is."""
        sizes = self.sizes(PAPER)
        if not sizes:
            return ()
        return self.of(PAPER, REFERENCE_SIZE if REFERENCE_SIZE in sizes else sizes[0])


@dataclass(frozen=True)
class Target:
    """A quality that baselines are asked for: an MSE, an SSIM, or both; `name` says whose."""

    name: str
    mse: float | None = None
    ssim: float | None = None

    def reached_by(self, points: tuple[RatePoint, ...]) -> Matched | None:
        """Return what a codec with these points must spend, None if it cannot."""
        return at_matched(points, mse=self.mse, ssim=self.ssim)


def targets(study: Study) -> tuple[Target, ...]:
    """Return the qualities to match: that of the reference runs on all test images, and the study's own."""
    own: tuple[Target, ...] = ()
    reference = study.reference()
    if reference:
        mse = summary_of([run.test.mse for run in reference]).mean
        ssim = summary_of([run.test.ssim for run in reference]).mean
        own = (Target(f"MSE {mse:.4f}", mse=mse), Target(f"SSIM {ssim:.3f}", ssim=ssim), Target("both", mse, ssim))
    published = STUDY_TABLE[REFERENCE_SIZE]
    return (*own, Target("the study's .0094 and .8713", published.mse, published.ssim))
