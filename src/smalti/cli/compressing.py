"""How `smalti compress` fits and packs the images of one shape while showing how it goes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from smalti.archive.recovery.parity import RecoverySpec
from smalti.cli.console import Console
from smalti.cli.fitting import checkpoint_path, fit_with_progress
from smalti.cli.options import default_threads
from smalti.cli.pyramids import compress_pyramid, fit_pyramid_with_progress

if TYPE_CHECKING:
    from smalti.codec.groups import AnyModel
    from smalti.codec.packing import CompressReport
    from smalti.codec.wanted import Wanted
    from smalti.images.source import ImageSource

__all__ = ["ShownPacker"]


@dataclass
class ShownPacker:
    """A `smalti.codec.groups.Packer` with progress on the terminal, and with checkpoints beside the output.

    given : the model that the user gave, if any: then none is fitted
    several : whether there are images of several shapes, so that each has checkpoints of its own name
    """

    console: Console
    output: Path
    wanted: "Wanted"
    given: "AnyModel | None"
    several: bool
    labels: bool
    max_mse: float | None
    recovery: RecoverySpec | None
    strict: bool
    overwrite: bool
    device: str
    resume: bool
    threads: int | None
    _checkpoints: list[Path] = field(default_factory=list)

    def fit(self, source: "ImageSource") -> "AnyModel":
        """See `smalti.codec.groups.Packer`."""
        from smalti.codec.compressing import unfitted  # noqa: PLC0415 (torch is slow to import)

        if self.given is not None:
            raise unfitted(source, self.given)
        place = self._place(source)
        checkpoint = checkpoint_path(place)
        self._checkpoints.append(checkpoint)
        if self.wanted.is_pyramid:
            settings = self.wanted.pyramid_settings()
            return fit_pyramid_with_progress(
                source,
                settings,
                self.console,
                place,
                checkpoint,
                resume=self.resume,
                threads=self.threads,
                strict=self.strict,
            )
        return fit_with_progress(
            source,
            self.wanted.paper_settings(),
            self.console,
            place,
            device=self.device,
            resume=self.resume,
            threads=self.threads,
            strict=self.strict,
        )

    def pack(self, source: "ImageSource", out: Path, model: "AnyModel") -> "CompressReport":
        """See `smalti.codec.groups.Packer`."""
        import torch  # noqa: PLC0415 (slow to import)

        from smalti.codec.compressing import packing_of  # noqa: PLC0415
        from smalti.codec.packing import compress_source  # noqa: PLC0415
        from smalti.training.paper.grid_model import Model  # noqa: PLC0415

        torch.set_num_threads(default_threads(self.threads))
        if isinstance(model, Model):
            self.wanted.check_for_paper_model()
            with self.console.progress("compress") as progress:
                return compress_source(
                    source,
                    out,
                    model,
                    labels=self.labels,
                    max_mse=self.max_mse,
                    recovery=self.recovery,
                    strict=self.strict,
                    overwrite=self.overwrite,
                    threads=default_threads(self.threads),
                    progress=progress,
                )
        place = self._place(source)
        return compress_pyramid(
            source,
            out,
            model,
            packing_of(model, self.wanted, self.given is None),
            self.console,
            threads=self.threads,
            labels=self.labels,
            max_mse=self.max_mse,
            recovery=self.recovery,
            strict=self.strict,
            overwrite=self.overwrite,
            state=place.with_name(f"{place.name}.packing"),
            resume=self.resume,
        )

    def remove_checkpoints(self) -> None:
        """Drop what interrupted fits would have gone on from."""
        for checkpoint in self._checkpoints:
            checkpoint.unlink(missing_ok=True)

    def _place(self, source: "ImageSource") -> Path:
        """What checkpoints and logs are named by."""
        if not self.several:
            return self.output
        shape = "x".join(map(str, source.image_shape))
        return self.output.with_name(f"{self.output.name}.{shape}-{source.dtype.name}")
