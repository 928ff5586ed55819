"""The options that several commands share, each declared once; and the report of skipped files."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smalti.cli.console import Console
from smalti.errors import UsageError

if TYPE_CHECKING:
    from smalti.images.batch import SkippedFile

__all__ = [
    "SKIPPED",
    "SOURCE_HELP",
    "ArchiveLocation",
    "ArchivePath",
    "Codes",
    "Debug",
    "Device",
    "EditedPath",
    "Effort",
    "Epochs",
    "Force",
    "Json",
    "Lossless",
    "MaxError",
    "MaxMse",
    "NoLabels",
    "OptionalOutPath",
    "OptionalSource",
    "OutPath",
    "Page",
    "Profile",
    "Psnr",
    "Quiet",
    "Recovery",
    "Resume",
    "Seed",
    "Source",
    "Strict",
    "TargetBytes",
    "TargetMse",
    "TargetSsim",
    "Threads",
    "largest_error",
    "model_option",
    "report_skipped",
    "warn_of_each",
]


SOURCE_HELP = (
    "Images: a folder of image files, .tar, .parquet, .npy, .npz, HDF5, Zarr, IDX (.gz), shards "
    "(MDS, LitData, TFRecord, RecordIO, LMDB, Lance), .smalti, a URL of one, or a "
    "named set (mnist, fashion-mnist, cifar-10, each also with /train or /test; noto-emoji)."
)
_SOURCE = typer.Argument(metavar="SOURCE", help=SOURCE_HELP, show_default=False)

Source = Annotated[str, _SOURCE]
OptionalSource = Annotated[str | None, _SOURCE]
ArchivePath = Annotated[
    Path,  # `readable=False`: the reader says whether it can be read, with its own exit code
    typer.Argument(metavar="ARCHIVE", help="A .smalti file.", show_default=False, readable=False),
]
ArchiveLocation = Annotated[
    str,
    typer.Argument(
        metavar="ARCHIVE", help="A .smalti file, or the URL of one (s3://, https://, ...).", show_default=False
    ),
]


def _refuse_stdout(output: Path | None) -> Path | None:
    """Raise UsageError for "-", which means standard output to other programs."""
    if output is not None and str(output) == "-":
        raise UsageError("-o -: nothing is written to standard output; name a file, or ./- for one of that name")
    return output


def _output_option(help: str) -> Any:  # noqa: A002 (the parameter of typer)
    return typer.Option("-o", "--output", metavar="OUT", help=help, show_default=False, callback=_refuse_stdout)


OutPath = Annotated[Path, _output_option("Where to write.")]
OptionalOutPath = Annotated[Path | None, _output_option("Where to write.")]
EditedPath = Annotated[Path | None, _output_option("Where to write [default: replace ARCHIVE].")]


def model_option(help: str) -> Any:  # noqa: A002 (the parameter of typer)
    """Return the option --model of a command."""
    return typer.Option("--model", metavar="MODEL", help=f"A model file from smalti fit{help}.", show_default=False)


Recovery = Annotated[
    str | None,
    typer.Option(
        "--recovery",
        metavar="M/N",
        help="Add recovery data that repairs up to M lost blocks in every N, such as 1/16.",
        show_default=False,
    ),
]
MaxMse = Annotated[
    float | None,
    typer.Option(
        "--max-mse",
        min=0.0,
        metavar="X",
        help="Error bound: the largest mean squared error of any image, pixels from 0 to 1; 0 is lossless.",
        show_default=False,
    ),
]
BlockImages = Annotated[
    int | None,
    typer.Option(
        "--block-images",
        min=1,
        metavar="N",
        help="About how many images reading one decodes: fewer are quicker, and more bytes [default: by profile].",
        show_default=False,
    ),
]
NoLabels = Annotated[bool, typer.Option("--no-labels", help="Leave labels out of the archive.")]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse SOURCE if a file cannot be read; do not skip the file.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print only warnings and errors.")]
Force = Annotated[bool, typer.Option("-f", "--force", help="Overwrite an existing output.")]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, metavar="N", help="Threads to use [default: all cores].", show_default=False),
]
Page = Annotated[
    Path | None,
    typer.Option(
        "--page",
        metavar="FILE.html",
        help="Also write a page: originals, decoded images, differences, the worst ten, a histogram of PSNR.",
        show_default=False,
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="What to fit: auto, photo, drawing, lossless, compact, fine, paper [default: auto, by images and target].",
        show_default=False,
    ),
]
Psnr = Annotated[
    float | None,
    typer.Option(
        "--psnr",
        metavar="DB",
        help="Quality: the PSNR of the mean squared error over all images, such as 36 [default of auto and photo: 36].",
        show_default=False,
    ),
]
TargetMse = Annotated[
    float | None,
    typer.Option(
        "--target-mse",
        metavar="X",
        help="Instead: mean squared error over all images, pixels from 0 to 1 [default of compact: 0.0094, of fine: "
        "0.002].",
        show_default=False,
    ),
]
TargetSsim = Annotated[
    float | None,
    typer.Option(
        "--ssim", "--target-ssim", metavar="X", help="Instead: mean SSIM over all images.", show_default=False
    ),
]
TargetBytes = Annotated[
    int | None,
    typer.Option(
        "--target-bytes",
        metavar="N",
        help="Instead: bytes of the whole archive, at the best quality that fits.",
        show_default=False,
    ),
]
Lossless = Annotated[bool, typer.Option("--lossless", help="Instead: keep every sample as it is.")]
MaxError = Annotated[
    int | None,
    typer.Option(
        "--max-error",
        min=0,
        metavar="E",
        help="Instead: each sample within E of its original, of 255 or 65535; alpha stays exact. 0 is --lossless.",
        show_default=False,
    ),
]
Effort = Annotated[
    int | None,
    typer.Option(
        "--effort",
        min=0,
        max=9,
        metavar="0..9",
        help="Time of a fit, not of paper: 2 takes minutes, 9 up to an hour on 2 cores [default: 5, or that of MODEL].",
        show_default=False,
    ),
]
Codes = Annotated[
    int | None,
    typer.Option(
        "--codebook-size",
        "-k",
        metavar="K",
        help="Codes of a codebook, 2 to 65536: takes paper, or with a target compact [default of paper: 128].",
        show_default=False,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        "--epochs", min=1, metavar="N", help="Passes over the images: takes paper [default: 3].", show_default=False
    ),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", min=0, metavar="N", help="Seed of everything random [default: 0].", show_default=False),
]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="Where to compute: cpu, cuda, mps or auto.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue from the checkpoint of an interrupted run.")]


def largest_error(lossless: bool, max_error: int | None) -> int | None:
    """Return the largest error that --lossless and --max-error ask for; UsageError if they contradict each other."""
    if lossless and max_error:
        raise UsageError(f"--lossless allows no error, --max-error {max_error} does: give one of them")
    return 0 if lossless else max_error


SKIPPED = 3
"""The exit code if files were skipped."""

SHOWN = 20
"""Most lines of one kind that a command prints; --json has all."""


def report_skipped(skipped: "Sequence[SkippedFile]", console: Console) -> None:
    """List the files that were skipped, alike ones in one line, and end with exit code 3 if there are any."""
    from smalti.images.file_names import without_number  # noqa: PLC0415 (NumPy, which --help does not need)

    alike: dict[tuple[str, str], list[str]] = {}
    for file in skipped:
        own, _ = without_number(file.name)  # images of one file are alike
        alike.setdefault((PurePosixPath(own).suffix.lower(), file.reason), []).append(file.name)
    lines = []
    for (_, reason), names in alike.items():
        others = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        lines.append(f"skipped {names[0]}{others}: {reason}")
    warn_of_each(lines, console)
    if skipped:
        raise typer.Exit(SKIPPED)


def warn_of_each(lines: Sequence[str], console: Console) -> None:
    """Print the first of some warnings, and the number of the others."""
    for line in lines[:SHOWN]:
        console.warn(line)
    if len(lines) > SHOWN:
        console.warn(f"... and {len(lines) - SHOWN:,} more (all of them in --json)")
