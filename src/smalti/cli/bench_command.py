"""`smalti bench`: compare archives with classical codecs, and print the result."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smalti.cli.console import Console
from smalti.cli.interruption import WorkInterruptedError, command_line, needing, stop_on_interrupt
from smalti.cli.options import SOURCE_HELP, Debug, Json, Quiet, Threads
from smalti.threads import default_threads

if TYPE_CHECKING:
    from smalti.bench.results import BenchResult

__all__ = ["bench_command"]


def bench_command(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="Where to write results.")],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP)] = "mnist",
    archives: Annotated[
        list[Path] | None,
        typer.Option("--archive", metavar="ARCHIVE", help="A .smalti file of SOURCE; may be given several times."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Compare archives of SOURCE with classical codecs: bytes, MSE and SSIM.

    Codecs (JPEG, JPEG 2000, WebP, AVIF, JPEG XL) encode the images as mosaics at a range of qualities; the exact reader
    decodes the archives. FOLDER gets the numbers (.json), a page with tables (.md) and a picture (.png), named after
    SOURCE. Earlier measurements are reused: archives can be added later, and Ctrl-C loses the work on one codec at
    most.
    """
    console = Console(json=json, quiet=quiet)
    with needing("the bench", "study"):
        from smalti.bench.run import run_bench  # noqa: PLC0415 (codecs and figures are slow to import)
    command = command_line()
    with stop_on_interrupt() as stopping:

        def say(line: str) -> None:
            console.say(line)
            if stopping():
                raise KeyboardInterrupt

        try:
            result, files = run_bench(source, output, archives or [], command, say, default_threads(threads))
        except KeyboardInterrupt:
            raise WorkInterruptedError.resuming_with(command) from None
    plain = {"page": str(files.page), "figure": str(files.figure), "numbers": str(files.numbers), **_plain(result)}
    console.result(plain, f"{_text(result)}\n{files.page}")


def _plain(result: "BenchResult") -> dict[str, Any]:
    """Return the result, with the bytes that codecs need at the MSE of each archive and of the reference."""
    from smalti.bench.results import needs, reference  # noqa: PLC0415

    matched = {
        archive.name: {
            "bytes_per_image": archive.bytes_per_image,
            "mse": archive.mse,
            "codecs": [asdict(need) for need in needs(result, archive.mse)],
        }
        for archive in result.archives
    }
    found = reference(result)
    return {**asdict(result), "matched": matched, "reference": None if found is None else asdict(found)}


def _text(result: "BenchResult") -> str:
    from smalti.bench.page import reference_line  # noqa: PLC0415
    from smalti.bench.results import best_need, reference  # noqa: PLC0415

    found = reference(result)
    lines = []
    if found is not None:
        lines.append(reference_line(found))
        lines += [f"  {need.name} needs {need.bytes_per_image:,.2f} bytes there" for need in found.needs]
    for archive in result.archives:
        best = best_need(result, archive.mse)
        codec_need = "" if best is None else f"; {best.name} needs {best.bytes_per_image:,.2f} there"
        lines.append(
            f"{archive.name}: {archive.bytes_per_image:,.2f} bytes an image, MSE {archive.mse:.5f}{codec_need}"
        )
    return "\n".join(lines)
