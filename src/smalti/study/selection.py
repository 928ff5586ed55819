"""The selection of runs and baselines for a table or a figure."""

from dataclasses import dataclass

from smalti.peers.matching import Matched, RatePoint, at_matched
from smalti.study.classical import ClassicalResult
from smalti.study.results import STUDY_TABLE, AmortisationPoint, RunResult, StudyInfo
from smalti.study.runs import ABLATED, CURED, PAPER
from smalti.study.statistics import REFERENCE_SIZE, mean_of, reference_size
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
"""The names of the variants for readers."""


@dataclass(frozen=True)
class Study:
    """All measurements; those that were not made are empty or None."""

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
        sizes = {run.codebook_size for run in self.runs if run.variant in ABLATED}
        return reference_size(sizes) if sizes else None

    def reference(self) -> tuple[RunResult, ...]:
        """Return the paper runs that baselines are compared with: K = 128, or the smallest size there is."""
        sizes = self.sizes(PAPER)
        return self.of(PAPER, reference_size(sizes)) if sizes else ()


@dataclass(frozen=True)
class Target:
    """A quality that baselines have to reach: an MSE, an SSIM, or both."""

    name: str
    mse: float | None = None
    ssim: float | None = None

    def reached_by(self, points: tuple[RatePoint, ...]) -> Matched | None:
        """Return the bytes at which a codec with these points reaches it; None if it never does."""
        return at_matched(points, mse=self.mse, ssim=self.ssim)


def targets(study: Study) -> tuple[Target, ...]:
    """Return the qualities to match: those of the reference runs on all test images, and the published one."""
    own: tuple[Target, ...] = ()
    reference = study.reference()
    if reference:
        mse = mean_of(reference, lambda run: run.test.mse)
        ssim = mean_of(reference, lambda run: run.test.ssim)
        own = (Target(f"MSE {mse:.4f}", mse=mse), Target(f"SSIM {ssim:.3f}", ssim=ssim), Target("both", mse, ssim))
    published = STUDY_TABLE[REFERENCE_SIZE]
    return (*own, Target("the study's .0094 and .8713", published.mse, published.ssim))
