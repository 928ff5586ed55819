"""`smalti info`: what an archive holds. It starts at once: it imports nothing that decodes pixels."""

from smalti.archive.open import open_images
from smalti.cli.console import Console
from smalti.cli.options import ArchiveLocation, Debug, Json, Quiet, Threads
from smalti.cli.summary import info_json, info_text, warn_of_damage

__all__ = ["info_command"]


def info_command(
    archive: ArchiveLocation, json: Json = False, quiet: Quiet = False, threads: Threads = None, debug: Debug = False
) -> None:
    """Show what is in ARCHIVE, and the bytes of each part; no image is decoded."""
    console = Console(json=json, quiet=quiet)
    with open_images(archive) as opened:
        info, path = opened.info(), opened.path
        warn_of_damage(opened, console)
    console.result({"archive": str(path), **info_json(info)}, info_text(path, info))
