"""Made-up results with which tables, figures and texts are tested."""

import numpy as np

from smalti.study.results import ArchiveBytes, ArchiveMeasure, Pictures, RunQuality, RunResult, TestQuality
from smalti.training.reports import EpochReport


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
