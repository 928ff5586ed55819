"""The options that every command has, and those that several share.

Telling which files of a source were skipped.
"""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smalti.cli.console import Console
from smalti.errors import UsageError
from smalti.threads import default_threads

if TYPE_CHECKING:
    from smalti.images.batch import SkippedFile

__all__ = [
    "SHOWN",
    "SKIPPED",
    "ArchivePath",
    "ArchivePlace",
    "Codes",
    "Debug",
    "Device",
    "EditedPath",
    "EffortOption",
    "Epochs",
    "Force",
    "Json",
    "MaxMse",
    "NoLabels",
    "OutOrPlan",
    "OutPath",
    "Profile",
    "ProfileOption",
    "Quiet",
    "Recovery",
    "Resume",
    "Seed",
    "Source",
    "SourceOrPlan",
    "Strict",
    "TargetBytes",
    "TargetMse",
    "TargetSsim",
    "Threads",
    "default_threads",
    "report_skipped",
]


class Profile(StrEnum):
    """The profiles a fit may follow."""

    PAPER = "paper"
    COMPACT = "compact"
    FINE = "fine"


SOURCE_HELP = (
    "Images: a folder of image files, .tar, .parquet, .npy, .npz, HDF5, Zarr, IDX (.gz), .smalti, a URL of one, or a "
    "named set (mnist, fashion-mnist, cifar-10, each also with /train or /test; noto-emoji)."
)

Source = Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP, show_default=False)]
SourceOrPlan = Annotated[str | None, typer.Argument(metavar="SOURCE", help=SOURCE_HELP, show_default=False)]
ArchivePath = Annotated[
    Path,  # whether it can be read is for the reader to say, with its own exit code
    typer.Argument(metavar="ARCHIVE", help="A .smalti file.", show_default=False, readable=False),
]
ArchivePlace = Annotated[
    str,
    typer.Argument(
        metavar="ARCHIVE", help="A .smalti file, or the URL of one (s3://, https://, ...).", show_default=False
    ),
]


def _no_stream(output: Path | None) -> Path | None:
    """UsageError for "-", by which other programs mean standard output: an archive is written to a file."""
    if output is not None and str(output) == "-":
        raise UsageError("-o -: nothing is written to standard output; name a file, or ./- for one of that name")
    return output


OutPath = Annotated[
    Path,
    typer.Option("-o", "--output", metavar="OUT", help="Where to write.", show_default=False, callback=_no_stream),
]
OutOrPlan = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="OUT", help="Where to write.", show_default=False, callback=_no_stream),
]
EditedPath = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="Where to write [default: in ARCHIVE's place].",
        show_default=False,
        callback=_no_stream,
    ),
]
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
        help="Promise that every image decodes within this mean squared error, pixels from 0 to 1; 0 is lossless.",
        show_default=False,
    ),
]
NoLabels = Annotated[bool, typer.Option("--no-labels", help="Leave labels out of the archive.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Refuse SOURCE if any file of it cannot be read, in place of passing it over.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but warnings and errors.")]
Force = Annotated[bool, typer.Option("-f", "--force", help="Overwrite an existing output.")]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, metavar="N", help="Threads to use [default: all cores].", show_default=False),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

ProfileOption = Annotated[
    Profile | None, typer.Option("--profile", help="Network and protocol to fit [default: paper].", show_default=False)
]
TargetMse = Annotated[
    float | None,
    typer.Option(
        "--target-mse",
        metavar="X",
        help="Mean squared error over all images, pixels from 0 to 1 [default for compact: 0.0094, for fine: 0.002].",
        show_default=False,
    ),
]
TargetSsim = Annotated[
    float | None,
    typer.Option("--target-ssim", metavar="X", help="Instead: mean SSIM over all images.", show_default=False),
]
TargetBytes = Annotated[
    int | None,
    typer.Option(
        "--target-bytes",
        metavar="N",
        help="Instead: bytes of the whole archive, as good as they allow.",
        show_default=False,
    ),
]
EffortOption = Annotated[
    int | None,
    typer.Option(
        "--effort",
        min=0,
        max=9,
        metavar="0..9",
        help="Time for compact and fine: 2 takes minutes, 9 up to an hour on 2 cores [default: 5].",
        show_default=False,
    ),
]
Codes = Annotated[
    int | None,
    typer.Option(
        "--codebook-size",
        "-k",
        metavar="K",
        help="Codes of a codebook, 2 to 65536 [default for paper: 128; for others they size themselves].",
        show_default=False,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        "--epochs", min=1, metavar="N", help="Passes over the images [default for paper: 3].", show_default=False
    ),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", min=0, metavar="N", help="Seed of everything random [default: 0].", show_default=False),
]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="Where to compute: cpu, cuda, mps or auto.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint of an interrupted fit.")]


SKIPPED = 3
"""The exit code if files were skipped."""

SHOWN = 20


def report_skipped(skipped: "Sequence[SkippedFile]", console: Console) -> None:
    """List the files that were skipped, and end with exit code 3 if there are any."""
    if not skipped:
        return
    for file in skipped[:SHOWN]:
        console.warn(f"skipped {file.name}: {file.reason}")
    if len(skipped) > SHOWN:
        console.warn(f"... and {len(skipped) - SHOWN:,} more (all of them in --json)")
    raise typer.Exit(SKIPPED)
