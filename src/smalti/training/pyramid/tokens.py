"""The encoding of a whole source with a pyramid: tokens that meet a goal, the integer decoder, and the prior."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.pyramid.pyramid_decoder import PyramidDecoder
from smalti.decoders.pyramid.pyramid_network import TokenLayout
from smalti.images.batch import ImageBatch, Pixels
from smalti.images.source import ImageSource
from smalti.training.common.training_images import TrainingImages
from smalti.training.observer import Observer, stop_if_asked
from smalti.training.pyramid.build import search_rounds
from smalti.training.pyramid.chosen_tokens import parts_of
from smalti.training.pyramid.encoding import Encoding
from smalti.training.pyramid.export import global_tokens, overhead_bytes, to_network, to_prior
from smalti.training.pyramid.pyramid_settings import EFFORTS
from smalti.training.training_kind import Encoded, EncodeRequest

if TYPE_CHECKING:
    from smalti.training.pyramid.pyramid_model import PyramidModel

__all__ = ["encode_pyramid"]

BATCH_IMAGES = 4_096
"""Images in a batch of the second pass over the source, which pairs them with their tokens."""


def encode_pyramid(
    model: "PyramidModel", images: TrainingImages, source: ImageSource, request: EncodeRequest, observer: Observer
) -> Encoded:
    """Choose tokens for all images of a source, as `PyramidModel.encode` does. images : the images of the source"""
    learns = request.fitted_here or request.adapt
    goal = request.goal or (model.settings.goal if learns and model.settings.rate_aware else None)
    effort = model.settings.effort if request.effort is None else request.effort
    refits = EFFORTS[effort].refits if learns else 0

    def progress(stage: str, done: int, total: int) -> None:
        observer.on_step(stage, done, total)
        stop_if_asked(observer, request.checkpoint)

    encoding = Encoding(
        model,
        images,
        goal,
        search_rounds(effort, model.pyramid.shape),
        progress,
        request.checkpoint,
        request.resume,
        lambda: 8.0 * overhead_bytes(model.pyramid),
        beside=request.beside,
    )
    # a model that was fitted on these images has already learned from their tokens
    chosen = encoding.run(min(1, refits) if request.fitted_here else refits)
    network = to_network(model.pyramid)

    def tokens_of(part: slice) -> NDArray[np.uint16]:
        return global_tokens(model.pyramid, chosen.tokens.of(part), chosen.depths[part].numpy())

    grid = model.pyramid.shape.canvas
    decoder = PyramidDecoder(network, grid)

    def decode(some: NDArray[np.integer], threads: int) -> Pixels:
        return decoder.decode(some[:, 0], threads)

    return Encoded(
        network,
        to_prior(model.pyramid, network, map(tokens_of, parts_of(len(chosen)))),
        (1, TokenLayout(network, grid).tokens),
        network.codes,
        _with_tokens(source, tokens_of),
        decode,
        encoding.missed(chosen),
    )


def _with_tokens(
    source: ImageSource, tokens_of: Callable[[slice], NDArray[np.uint16]]
) -> Iterator[tuple[ImageBatch, NDArray[np.integer]]]:
    done = 0
    for batch in source.batches(BATCH_IMAGES):
        yield batch, tokens_of(slice(done, done + len(batch)))[:, None]
        done += len(batch)
