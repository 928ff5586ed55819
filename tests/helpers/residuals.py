"""A crude decoder of digits, and the residuals of a whole archive, made as a writer makes them."""

from dataclasses import dataclass

import numpy as np

from smalti.residual.choice import ResidualEstimator, choose_residuals
from smalti.residual.residual_prior import ResidualPrior
from smalti.residual.residuals import ResidualCounts, Residuals, max_squared_error

BATCH = 16


def block_means(images):
    """Each 4 x 4 block as its mean, like a decoder that blurs: uint8 [n, H, W, C], H and W multiples of 4."""
    n, height, width, channels = images.shape
    blocks = images.reshape(n, height // 4, 4, width // 4, 4, channels)
    means = blocks.mean(axis=(2, 4), keepdims=True).round().astype(np.uint8)
    return np.broadcast_to(means, blocks.shape).reshape(images.shape)


@dataclass(frozen=True)
class Packed:
    """The residuals of images as a writer stores them. base : the decoder's images; blocks : coded residuals"""

    base: np.ndarray
    residuals: Residuals
    prior: ResidualPrior
    section: bytes
    blocks: list[bytes]
    block_images: int

    @property
    def stored_bytes(self):
        return len(self.section) + sum(len(block) for block in self.blocks)

    def decode(self, number, rows=None):
        """Some rows of a block, decoded from bytes alone and the bases that this needs."""
        base = self.base[number * self.block_images : (number + 1) * self.block_images]
        prior = ResidualPrior.from_bytes(self.section, self.base.shape[1:])
        rows = np.arange(len(base)) if rows is None else np.asarray(rows, np.intp)
        return prior.decode(self.blocks[number], len(base), rows, lambda needed: base[needed])

    def decode_all(self):
        return np.concatenate([self.decode(number) for number in range(len(self.blocks))])


def choose_all(images, base, max_sse):
    """Residuals of all images, chosen batch by batch, and their counts."""
    estimator, counts, parts = ResidualEstimator(), ResidualCounts(), []
    for start in range(0, len(images), BATCH):
        batch = slice(start, start + BATCH)
        parts.append(choose_residuals(images[batch], base[batch], max_sse, estimator))
        counts.add(base[batch], parts[-1])
    return Residuals.join(parts), counts


def pack(images, base, max_mse, block_images=48):
    """Everything that an archive stores for its residuals, or None if no image needs any."""
    residuals, counts = choose_all(images, base, max_squared_error(max_mse, images.shape[1:]))
    if not len(residuals.rows):
        return None
    prior = ResidualPrior.fit(counts, images.shape[1:])
    parts = [slice(start, start + block_images) for start in range(0, len(images), block_images)]
    blocks = [prior.encode(base[part], residuals.part(part)) for part in parts]
    return Packed(base, residuals, prior, prior.to_bytes(), blocks, block_images)
