"""Made-up results of the study, whole or in parts, for the tests of tables, figures, texts and the report."""

import numpy as np

from smalti.peers.matching import RatePoint
from smalti.study.classical import ClassicalResult, CodecCurve
from smalti.study.results import (
    AmortisationPoint,
    ArchiveBytes,
    ArchiveMeasure,
    Pictures,
    RunQuality,
    RunResult,
    StudyInfo,
    TestQuality,
    write_amortisation,
)
from smalti.study.selection import Study
from smalti.study.vae import VaeResult, VaeRun, VaeSettings
from smalti.training.reports import EpochReport

LOSSY = (RatePoint(5, 30, 0.012, 0.80), RatePoint(10, 60, 0.005, 0.90), RatePoint(20, 120, 0.001, 0.97))
POOR = (RatePoint(5, 30, 0.050, 0.40), RatePoint(10, 60, 0.030, 0.50))
FINE = (RatePoint(0, 95, 0.005, 0.90), RatePoint(10, 140, 0.001, 0.95))
EXACT = (RatePoint(0, 165, 0.0, 1.0),)


def made_up_run(variant="paper", codebook_size=128, seed=0, *, mse=None, ssim=None, codes_used=None):
    rng = np.random.default_rng([seed, codebook_size, len(variant)])
    mse = 0.009 + 0.0008 * rng.standard_normal() if mse is None else mse
    ssim = 0.86 + 0.01 * rng.standard_normal() if ssim is None else ssim
    if codes_used is None:
        codes_used = 24 if variant == "paper" else int(codebook_size * 0.9)
    entropy = float(np.log2(codes_used)) - 1
    bits = int(np.ceil(np.log2(codebook_size)))
    tokens = int(10_000 * 49 * entropy / 8)
    parameters = 266_561 + 64 * codebook_size
    return RunResult(
        variant=variant,
        codebook_size=codebook_size,
        seed=seed,
        epochs=3,
        train_images=60_000,
        parameters=parameters,
        model_bytes=4 * parameters,
        fit_seconds=75.0,
        first_100=RunQuality(mse, ssim),
        test=TestQuality(10_000, mse * 1.02, ssim - 0.005),
        codes_used=codes_used,
        perplexity=2**entropy,
        entropy_bits_per_token=entropy,
        tokens_per_image=49,
        fixed_length_bytes_per_image=49 * bits / 8,
        archive=ArchiveMeasure.of(10_000, ArchiveBytes(200, 4 * parameters, 500, tokens, 800, 4000)),
        history=tuple(
            EpochReport(epoch, 0.02 / epoch, 0.01, 0.01, 0.015 / epoch, codes_used, 2**entropy, entropy, 25.0)
            for epoch in (1, 2, 3)
        ),
        machine="2 cores of a made-up processor",
    )


def made_up_pictures(codes=24):
    rng = np.random.default_rng(codes)
    originals = rng.integers(0, 256, (10, 28, 28), dtype=np.uint8)
    atlas = rng.integers(0, 256, (codes, 28, 28), dtype=np.uint8)
    return Pictures(originals, originals // 2, atlas, np.sort(rng.integers(1, 9999, codes))[::-1].astype(np.int64))


def made_up_classical():
    curves = (
        CodecCurve("JPEG", "each", False, "quality", 10_000, POOR),
        CodecCurve("JPEG", "mosaic", False, "quality", 10_000, LOSSY),
        CodecCurve("AVIF", "each", False, "quality", 1_000, FINE),
        CodecCurve("PNG", "each", True, "level 9", 10_000, EXACT),
        CodecCurve("xz", "stream", True, "level 9", 10_000, EXACT),
    )
    return ClassicalResult("smalti study", "2 cores", 10_000, {"png": "1.6"}, curves)


def made_up_vae():
    settings = VaeSettings(steps=(2.0, 1.0, 0.5))
    points = (RatePoint(2, 3, 0.03, 0.7), RatePoint(1, 5, 0.015, 0.83), RatePoint(0.5, 8, 0.009, 0.89))
    runs = tuple(VaeRun(seed, 70.0, 652_824, 1_291_136, 103.0, points) for seed in (0, 1))
    return VaeResult("smalti study", "2 cores", settings, 60_000, 10_000, runs)


def made_up_amortisation():
    counts = (10, 1_000, 10_000, 70_000)
    sizes = [1_000_000 + 13 * count for count in counts]
    return tuple(AmortisationPoint(n, size, 784 * n / size) for n, size in zip(counts, sizes, strict=True))


def made_up_runs(seeds=3, sizes=(64, 128), variants=("paper", "cured", "ema")):
    return tuple(made_up_run(variant, size, seed) for variant in variants for size in sizes for seed in range(seeds))


def made_up_study():
    return Study(made_up_runs(), made_up_classical(), made_up_vae(), made_up_amortisation(), None)


def write_study(study, folder):
    for run in study.runs:
        run.write(folder)
        if run.seed == 0:
            made_up_pictures(run.codes_used).write(folder, run.name)
    if study.classical is not None:
        study.classical.write(folder)
    if study.vae is not None:
        study.vae.write(folder)
    if study.amortisation:
        write_amortisation(folder, study.amortisation)
    if study.info is not None:
        study.info.write(folder)


INFO = StudyInfo("smalti study mnist -o results/study", "2 cores", "0.1.0")
