"""The report in words: the numbers choose and fill every sentence.

Every function returns plain text, and "Not run." for what was not measured.
"""

from smalti.bench.style import signed
from smalti.peers.matching import at_rate
from smalti.study.page.tables import with_deviation
from smalti.study.results import RAW_IMAGE_BYTES, STUDY_TABLE, RunResult, break_even_images
from smalti.study.runs import ABLATED, CURED, PAPER
from smalti.study.selection import VARIANT_NAMES, Study, targets
from smalti.study.statistics import mean_of, summary_of

__all__ = [
    "NOT_RUN",
    "ablation_words",
    "amortisation_words",
    "classical_words",
    "collapse_words",
    "cured_words",
    "protocol_words",
    "rate_words",
    "reproduction_words",
    "vae_words",
]

NOT_RUN = "Not run."

SAME_FACTOR = 1.05
"""The report calls two figures about the same if they differ by less than this factor."""


def protocol_words(study: Study) -> str:
    """Describe the runs: how many fits, on how many images, for how long."""
    runs = study.of(PAPER)
    if not runs:
        return NOT_RUN
    epochs, images = _numbers({run.epochs for run in runs}), _numbers({run.train_images for run in runs})
    tested = _numbers({run.test.images for run in runs})
    seconds = mean_of(runs, lambda run: run.fit_seconds)
    fits = f"{len(runs)} fit{'s' if len(runs) > 1 else ''} of the study's own system"
    others = len(study.runs) - len(runs)
    return (
        f"{fits}{f' and {others} of variants of it' if others else ''}, each of {epochs} epochs over {images} training "
        f"images ({seconds:.0f} seconds on average), measured on {tested} test images."
    )


def _numbers(values: set[int]) -> str:
    return " or ".join(f"{value:,}" for value in sorted(values))


def reproduction_words(study: Study) -> str:
    """Compare the repeated K = 128 (or the smallest size) with the published figures."""
    runs = study.reference()
    if not runs:
        return NOT_RUN
    size = runs[0].codebook_size
    mse, ssim = [run.first_100.mse for run in runs], [run.first_100.ssim for run in runs]
    found = (
        f"K = {size} gives MSE {with_deviation(mse, 4)} and SSIM {with_deviation(ssim, 3)} on the first 100 test images"
    )
    published = STUDY_TABLE.get(size)
    if published is None:
        return f"{found}; the study has no figures for this size."
    return (
        f"{found}, where the study reports {published.mse:.4f} and {published.ssim:.4f}. The model takes "
        f"{runs[0].model_ko:,.0f} Ko, {_percent(runs[0].model_ko, published.model_ko)} against the study's "
        f"{published.model_ko:,}."
    )


def _percent(value: float, reference: float) -> str:
    return f"{signed(100 * (value / reference - 1), 1)}%"


def collapse_words(study: Study) -> str:
    """Say how many codes of each codebook are used."""
    runs = study.of(PAPER)
    if not runs:
        return NOT_RUN
    found = summary_of([float(run.codes_used) for run in runs])
    least, most = study.sizes(PAPER)[0], study.sizes(PAPER)[-1]
    text = f"The study's quantiser uses {found.least:.0f} to {found.most:.0f} codes"
    if least == most:
        share = found.mean / most
        return f"{text} of {most}" + ("." if share >= 0.5 else ": most of the codebook is never used.")
    low = mean_of(study.of(PAPER, least), lambda run: run.codes_used)
    high = mean_of(study.of(PAPER, most), lambda run: run.codes_used)
    whole = f"{text} over all runs; on average {low:.0f} of {least} and {high:.0f} of {most}. "
    if high / most >= 0.5:
        return whole + "The codebook does not collapse here."
    if high / low < 0.5 * most / least:
        return whole + (
            "The codebook collapses: the codes in use hardly grow with K, so that tables of quality against K compare "
            "systems that differ little in what they use."
        )
    return whole + "Most codes of the largest codebook are never used, though more codes do bring more into use."


def rate_words(study: Study) -> str:
    """Compare entropy coding on disk with the study's fixed-length accounting."""
    runs = study.reference()
    if not runs:
        return NOT_RUN
    fixed, tokens = runs[0].fixed_length_bytes_per_image, runs[0].tokens_per_image
    bits = mean_of(runs, lambda run: run.entropy_bits_per_token)
    coded = mean_of(runs, lambda run: run.archive.bytes_per_image)
    whole = mean_of(runs, lambda run: run.archive.bytes_per_image_with_model)
    return (
        f"At K = {runs[0].codebook_size} the study counts {tokens} tokens of fixed length: {fixed:.1f} bytes an image, "
        f"{RAW_IMAGE_BYTES / fixed:.1f}:1. The tokens carry {bits:.2f} bits each, and a real file of "
        f"{runs[0].archive.images:,} images, with headers and index, takes {coded:.1f} bytes an image without "
        f"the model ({RAW_IMAGE_BYTES / coded:.1f}:1) and {whole:.1f} with it ({RAW_IMAGE_BYTES / whole:.1f}:1)."
    )


def cured_words(study: Study) -> str:
    """Say how curing the collapse changes quality, codes and bytes at the reference size."""
    reference = study.reference()
    cured = study.of(CURED, reference[0].codebook_size) if reference else ()
    if not cured:
        return NOT_RUN
    mse, cured_mse = (mean_of(runs, lambda run: run.test.mse) for runs in (reference, cured))
    codes = mean_of(cured, lambda run: run.codes_used)
    old_codes = mean_of(reference, lambda run: run.codes_used)
    rate = mean_of(cured, lambda run: run.archive.bytes_per_image)
    old_rate = mean_of(reference, lambda run: run.archive.bytes_per_image)
    return (
        f"With all four cures K = {cured[0].codebook_size} uses {codes:.0f} codes in place of {old_codes:.0f}; MSE on "
        f"all test images goes from {mse:.4f} to {cured_mse:.4f} ({_percent(cured_mse, mse)}), bytes per image without "
        f"the model from {old_rate:.1f} to {rate:.1f} ({_percent(rate, old_rate)}). {_cured_trend(study)}"
    ).strip()


def _cured_trend(study: Study) -> str:
    sizes = study.sizes(CURED)
    if len(sizes) < 2:
        return ""
    small, large = (mean_of(study.of(CURED, size), lambda run: run.test.mse) for size in (sizes[0], sizes[-1]))
    where = f"From K = {sizes[0]} to {sizes[-1]} the cured system's MSE goes from {small:.4f} to {large:.4f}"
    if large * SAME_FACTOR < small:
        return f"{where}: once codes are used, more of them do help."
    return f"{where}: more codes do not help." if large > small * SAME_FACTOR else f"{where}, about the same."


def ablation_words(study: Study) -> str:
    """Say which single cure lowers MSE most at equal K."""
    size = study.ablation_size()
    if size is None or not study.of(PAPER, size):
        return NOT_RUN
    base = mean_of(study.of(PAPER, size), lambda run: run.test.mse)
    single = {
        variant: mean_of(study.of(variant, size), lambda run: run.test.mse)
        for variant in ABLATED
        if study.of(variant, size)
    }
    best = min(single, key=single.__getitem__)
    if single[best] >= base:
        return f"At K = {size} no single cure lowers MSE below the study's own {base:.4f}."
    return (
        f"At K = {size} the single cure that lowers MSE most is “{VARIANT_NAMES[best]}”: {base:.4f} to "
        f"{single[best]:.4f} ({_percent(single[best], base)})."
    )


def classical_words(study: Study) -> str:
    """Compare the classical codecs with the VQ-VAE at both its MSE and its SSIM."""
    runs = study.reference()
    if study.classical is None or not runs:
        return NOT_RUN
    both = targets(study)[2]
    reached = [(curve, both.reached_by(curve.points)) for curve in study.classical.curves]
    parts = []
    for mode, words in (("each", "where each image is its own file"), ("mosaic", "where all are one mosaic")):
        found = [(matched.bytes_per_image, curve.codec) for curve, matched in reached if matched and curve.mode == mode]
        if found:
            cost, name = min(found)
            parts.append(f"{name} {words} ({cost:.1f} bytes)")
    cheapest = f"the cheapest classical codec is {' and '.join(parts)}" if parts else "no classical codec arrives"
    coded = mean_of(runs, lambda run: run.archive.bytes_per_image)
    return (
        f"At the MSE and SSIM of K = {runs[0].codebook_size} {cheapest}. The archive takes {coded:.1f} bytes an image, "
        "and its model once: what that costs is the subject of the next section."
    )


def vae_words(study: Study) -> str:
    """Compare the VAE with continuous latents with the VQ-VAE at the rate of the latter."""
    runs = study.reference()
    if study.vae is None or not runs:
        return NOT_RUN
    rate = mean_of(runs, lambda run: run.archive.bytes_per_image)
    mse, ssim = mean_of(runs, lambda run: run.test.mse), mean_of(runs, lambda run: run.test.ssim)
    own = f"K = {runs[0].codebook_size} has MSE {mse:.4f} and SSIM {ssim:.3f} at {rate:.1f} bytes"
    found = [at_rate(run.points, rate) for run in study.vae.runs]
    known = [each for each in found if each is not None]
    if len(known) < len(found):
        finest = [max(run.points, key=lambda point: point.bytes_per_image) for run in study.vae.runs]
        known = [(point.mse, point.ssim) for point in finest]
        at = f"At its finest step, {summary_of([point.bytes_per_image for point in finest]).mean:.1f} bytes an image,"
    else:
        at = f"At the same {rate:.1f} bytes an image"
    vae_mse = summary_of([each[0] for each in known]).mean
    model = mean_of(runs, lambda run: run.archive.bytes.model)
    vae_ssim = summary_of([each[1] for each in known]).mean
    return (
        f"{at} the VAE gives MSE {vae_mse:.4f} and SSIM {vae_ssim:.3f}, over {len(known)} seeds: "
        f"{_compared((vae_mse, vae_ssim), runs)} {own}. Its decoder takes "
        f"{study.vae.runs[0].decoder_bytes / 1024:,.0f} Ko, the archive's decoder and codebook "
        f"{model / 1024:,.0f}."
    )


def _compared(vae: tuple[float, float], runs: tuple[RunResult, ...]) -> str:
    """Compare MSE and SSIM of the VAE with those of the runs; smaller differences than those of seeds do not count."""
    mse, ssim = summary_of([run.test.mse for run in runs]), summary_of([run.test.ssim for run in runs])
    gains = (mse.mean - vae[0], vae[1] - ssim.mean)
    noise = (mse.deviation or 0.0, ssim.deviation or 0.0)
    words = [
        "as good as" if abs(gain) < deviation else "better than" if gain > 0 else "worse than"
        for gain, deviation in zip(gains, noise, strict=True)
    ]
    if words[0] == words[1]:
        return f"{words[0]} the VQ-VAE in both, whose"
    return f"in MSE {words[0]} and in SSIM {words[1]} the VQ-VAE, whose"


def amortisation_words(study: Study) -> str:
    """Give the ratio for many images, and the number of images from which the archive is smaller than raw pixels."""
    points = study.amortisation
    if not points:
        return NOT_RUN
    start = break_even_images(points, RAW_IMAGE_BYTES)
    last = points[-1]
    starts = f"It is smaller than the raw pixels from {start:,} images on" if start else "It never beats the raw pixels"
    return (
        "Every archive carries its model, here that of the run with the median MSE. "
        f"{starts}; {last.images:,} images come to {last.archive_bytes / 1e6:.2f} MB, "
        f"a true ratio of {last.ratio:.1f}:1 (real files)."
    )
