"""The numbers of the decoder, named and checked."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from smalti.errors import ModelError

__all__ = ["DecoderWeights"]


@dataclass(frozen=True, eq=False)
class DecoderWeights:
    """Codebook and weights of the study's decoder, in the layout of PyTorch's ConvTranspose2d.

    tokens -> codebook rows -> transposed convolution 4x4, stride 2, padding 1 -> ReLU -> the same again -> sigmoid

    codebook : float32 [U, D]            up1_bias : float32 [M]
    up1_weight : float32 [D, M, 4, 4]    up2_bias : float32 [C]
    up2_weight : float32 [M, C, 4, 4]

    Raises ModelError if shapes or dtypes do not fit each other, or if a number is not finite.
    """

    codebook: NDArray[np.float32]
    up1_weight: NDArray[np.float32]
    up1_bias: NDArray[np.float32]
    up2_weight: NDArray[np.float32]
    up2_bias: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.codebook.ndim != 2 or self.up1_bias.ndim != 1 or self.up2_bias.ndim != 1:
            raise ModelError("decoder weights: codebook must have 2 dimensions and each bias 1")
        (codes, code_dim), hidden, channels = self.codebook.shape, len(self.up1_bias), len(self.up2_bias)
        if min(codes, code_dim, hidden) < 1 or not 1 <= channels <= 4:
            raise ModelError(f"decoder weights: {codes} codes, {code_dim} dimensions, {hidden} -> {channels}")
        expected = {"up1_weight": (code_dim, hidden, 4, 4), "up2_weight": (hidden, channels, 4, 4)}
        for field in fields(self):
            tensor: NDArray[np.float32] = getattr(self, field.name)
            shape = expected.get(field.name, tensor.shape)
            if tensor.dtype != np.float32 or tensor.shape != shape:
                raise ModelError(
                    f"decoder weights: {field.name} is {tensor.dtype} {list(tensor.shape)}, not float32 {list(shape)}"
                )
            if not np.isfinite(tensor).all():
                raise ModelError(f"decoder weights: {field.name} holds a number that is not finite")

    @property
    def codes(self) -> int:
        """U, rows of the codebook."""
        return len(self.codebook)

    @property
    def channels(self) -> int:
        """C, channels of an image."""
        return len(self.up2_bias)

    def with_codes(self, code_ids: NDArray[np.integer]) -> "DecoderWeights":
        """The same decoder with only these rows of the codebook, in this order."""
        codebook = np.ascontiguousarray(self.codebook[code_ids])
        return DecoderWeights(codebook, self.up1_weight, self.up1_bias, self.up2_weight, self.up2_bias)
