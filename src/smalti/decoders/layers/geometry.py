"""Which places of a layer's input make which places of its output, for whole grids and for parts of them.

Along each axis a kernel's tap k joins input i and output y by

    tokens, up:  y = i * stride - padding + k            conv:  i = y - padding + k

This module counts places; it touches no values.
"""

from dataclasses import dataclass

from smalti.decoders.layers.integer_network import Layer

__all__ = ["Axis", "Region", "Span", "area", "axes", "extent"]

Span = tuple[int, int]
"""Places start..stop - 1 along one axis."""

Region = tuple[Span, Span]
"""Rows and columns of a part of a grid."""


@dataclass(frozen=True)
class Axis:
    """One axis of a layer's kernel."""

    kernel: int
    stride: int
    padding: int
    transposed: bool

    def output_size(self, size: int) -> int:
        """Outputs for `size` inputs."""
        if self.transposed:
            return (size - 1) * self.stride - 2 * self.padding + self.kernel
        return size + 2 * self.padding - self.kernel + 1

    def needed(self, target: Span, size: int) -> Span:
        """The inputs, out of `size`, that the outputs `target` depend on; an empty span if there are none."""
        if self.transposed:
            start = -(-(target[0] + self.padding - self.kernel + 1) // self.stride)
            stop = (target[1] - 1 + self.padding) // self.stride + 1
        else:
            start, stop = target[0] - self.padding, target[1] - self.padding + self.kernel - 1
        start = min(max(start, 0), size)
        return start, max(min(stop, size), start)

    def pairs(self, tap: int, source: Span, target: Span) -> tuple[slice, slice]:
        """Of a transposed layer: the inputs that add to an output through `tap`, and these outputs.

        Both as slices into arrays that hold `source` and `target` alone.
        """
        offset = tap - self.padding
        start = max(source[0], -(-(target[0] - offset) // self.stride))
        stop = max(min(source[1], (target[1] - 1 - offset) // self.stride + 1), start)
        first = start * self.stride + offset - target[0]
        past = first + (stop - start - 1) * self.stride + 1 if stop > start else first
        return slice(start - source[0], stop - source[0]), slice(first, past, self.stride)


def axes(layer: Layer) -> tuple[Axis, Axis]:
    """The axes y and x of a layer."""
    y, x = (
        Axis(kernel, stride, padding, layer.kind != "conv")
        for kernel, stride, padding in zip(layer.kernel, layer.stride, layer.padding, strict=True)
    )
    return y, x


def extent(region: Region) -> tuple[int, int]:
    """Rows and columns of a region."""
    return region[0][1] - region[0][0], region[1][1] - region[1][0]


def area(region: Region) -> int:
    """Places of a region."""
    rows, columns = extent(region)
    return rows * columns
