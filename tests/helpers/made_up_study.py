"""A made-up folder of results, whole or in parts."""

from helpers.made_up_results import made_up_pictures, made_up_run
from smalti.bench.matching import RatePoint
from smalti.study.classical import ClassicalResult, CodecCurve
from smalti.study.results import AmortisationPoint, StudyInfo, write_amortisation
from smalti.study.selection import Study
from smalti.study.vae import VaeResult, VaeRun, VaeSettings

LOSSY = (RatePoint(5, 30, 0.012, 0.80), RatePoint(10, 60, 0.005, 0.90), RatePoint(20, 120, 0.001, 0.97))
POOR = (RatePoint(5, 30, 0.050, 0.40), RatePoint(10, 60, 0.030, 0.50))
FINE = (RatePoint(0, 95, 0.005, 0.90), RatePoint(10, 140, 0.001, 0.95))
EXACT = (RatePoint(0, 165, 0.0, 1.0),)


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
