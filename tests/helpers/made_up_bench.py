"""A made-up result of the bench, for the tests of its tables and figures."""

from smalti.bench.results import ArchiveResult, BaselineCurve, BenchResult
from smalti.peers.matching import RatePoint

LADDER = (15.0, 10.0, 5.0)


def curve(codec, first_bytes, name=None):
    """Return the curve of a codec whose MSE halves with each doubling of bytes, from .008 at `first_bytes`."""
    points = tuple(
        RatePoint(setting, first_bytes * 2**n, 0.008 / 2**n, 0.8 + 0.05 * n) for n, setting in enumerate(LADDER)
    )
    return BaselineCurve(codec, name or codec, codec.lower(), "a setting", LADDER, points)


def archive(name="small", bytes_per_image=10.0, mse=0.004, images=100, **changes):
    tokens = round(bytes_per_image * images) - 50
    sizes = {"header_bytes": 10, "model_bytes": 20, "prior_bytes": 10, "tokens_bytes": tokens, "index_bytes": 10}
    facts = {
        "name": name, "sha256": "0" * 64, "profile": "paper", "codebook_size": 16, "images": images, **sizes,
        "columns_bytes": 7, "archive_bytes": sum(sizes.values()) + 7, "mse": mse, "mse_max": 2 * mse, "ssim": 0.9,
        "first_100_mse": mse, "first_100_ssim": 0.9,
    }  # fmt: skip
    return ArchiveResult(**{**facts, **changes})


def result(*archives, curves=None):
    made = (curve("JPEG", 40), curve("AVIF", 16, "AVIF 4:2:0"), curve("JPEG XL", 24)) if curves is None else curves
    found = BenchResult(
        "made/up", 100, (28, 28, 3), "0" * 64, "smalti bench", "2 cores", 10_000, 1, {"jpeg": "1"}, made, ()
    )
    for each in archives:
        found = found.with_archive(each)
    return found
