"""3D convolutions with half of the multiplications along one axis: minimal filtering F(4, 3), also of the gradients.

Four slices of the output come from six of the input. The six are mixed with fixed weights, each mixture is convolved
in 2D with a mixture of the kernel's three slices, and the four slices are mixtures of the six results: 6 convolutions
in 2D instead of 4·3. In the plane nothing changes. All mixing is linear, so that gradients go back through the
transposed mixtures and the same six convolutions.

Exact in real numbers; in float32 it rounds a few times as much as the plain sum of the products, far below what moves
a probability. Sources: Winograd 1980; Lavin & Gray 2016, arXiv 1509.09308, §4.1. A filter is the transpose of a product
of polynomials, and those are evaluated at points, multiplied, and interpolated (Toom and Cook).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

ONEDNN: bool = torch.backends.mkldnn.is_available() and hasattr(torch, "mkldnn_convolution")  # type: ignore[no-untyped-call]

TAPS, WRITTEN, READ = 3, 4, 6
"""Slices of the kernel, of the output and of the input."""
POINTS = (1.0, 0.0, -1.0, 2.0, -2.0)
"""Where polynomials are evaluated, besides at infinity. At the first, 1, every power is 1: what is added to that
product is added to all four slices."""
LEAST_CHANNELS = 32
"""With fewer, mixing takes what the multiplications save (measured: 1.1 times as fast with 16, 1.4 to 1.9 above)."""
LEAST_VOXELS = 1536
"""With fewer voxels of the output, the calls take what the multiplications save."""
COPY_COST = 0.1
"""What another axis than the first costs, whose slices have to be copied, as a share of the plain multiplications."""
GROUP_VALUES = 2**20
"""Of as many values as fit, six slices after six are mixed and convolved in one call."""


def pays(x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int]) -> bool:
    """Whether ``convolve`` may be used, and is faster than the plain convolution."""
    fits = weight.shape[2:] == (TAPS,) * 3 and set(stride) == {1} and x.dtype == torch.float32
    if not (ONEDNN and x.is_cpu and fits and min(weight.shape[:2]) >= LEAST_CHANNELS):
        return False
    sizes = _sizes(x, padding)
    return min(map(_cost, range(3), sizes)) < 1 and len(x) * sizes[0] * sizes[1] * sizes[2] >= LEAST_VOXELS


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Sequence[int]) -> Tensor:
    """The convolution of (N, in, d, h, w), channels last, with (out, in, 3, 3, 3); stride 1, zero padding.

    On the CPU by oneDNN, in float32. It has gradients, but no second ones.
    """
    sizes = _sizes(x, padding)
    axis = min(range(3), key=lambda axis: _cost(axis, sizes[axis]))
    y: Tensor = _Convolution.apply(x, weight, bias, tuple(padding), axis)  # type: ignore[no-untyped-call]
    return y


def workspace_values(slice_values: int, slices: int) -> int:
    """What is held beside the input and an output of so many slices of (h · w · channels) values each."""
    at_once = min(-(-slices // WRITTEN), max(1, GROUP_VALUES // slice_values))
    return 2 * READ * slice_values * at_once


def _sizes(x: Tensor, padding: Sequence[int]) -> list[int]:
    return [size + 2 * pad - TAPS + 1 for size, pad in zip(x.shape[2:], padding, strict=True)]


def _cost(axis: int, size: int) -> float:
    """Multiplications of ``size`` slices of the output along this axis, as a share of the plain ones."""
    return READ * -(-size // WRITTEN) / (TAPS * max(1, size)) + (COPY_COST if axis else 0.0)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, ...], axis: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding, ctx.axis = padding, axis
        of_input, _, of_output = _mixtures()
        before, *beside = _axis_first(padding, axis)
        source, kernels = _slices(x, axis), _kernels(weight, axis)
        shape = (len(x), len(weight), *_sizes(x, padding))
        y = torch.empty(shape, memory_format=torch.channels_last_3d)
        result = _slices(y, axis)
        groups = list(_groups(source, result))
        mixed_slices, mixed_result = (_workspace(each, groups) for each in (source, result))
        for starts in groups:
            mixed = _mixed(of_input, source, [start - before for start in starts], mixed_slices)
            products = mixed_result[:, : len(starts)]
            for number, (images, kernel) in enumerate(zip(mixed, kernels, strict=True)):
                added = bias if number == 0 else None
                product = torch.mkldnn_convolution(_images(images), kernel, added, beside, [1, 1], [1, 1], 1)
                products[number] = product.movedim(1, -1).view_as(products[number])
            for number, start in enumerate(starts):
                written = result[start : start + WRITTEN].flatten(1)
                torch.mm(of_output[: len(written)], products[:, number].flatten(1), out=written)
        return _written(y, axis, result)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        of_input, of_kernel, of_output = _mixtures()
        before, *beside = _axis_first(ctx.padding, ctx.axis)
        source, result, kernels = _slices(x, ctx.axis), _slices(gradient, ctx.axis), _kernels(weight, ctx.axis)
        of_x = torch.empty_like(x, memory_format=torch.channels_last_3d).zero_()
        of_source, of_kernels = _slices(of_x, ctx.axis), torch.zeros_like(kernels)
        groups = list(_groups(source, result, least=2))  # torch is slow at the gradients of a single image
        mixed_slices, mixed_result = (_workspace(each, groups) for each in (source, result))
        for starts in groups:
            mixed = _mixed(of_input, source, [start - before for start in starts], mixed_slices)
            products = _mixed(of_output.T, result, starts, mixed_result)
            for images, product, kernel, total in zip(mixed, products, kernels, of_kernels, strict=True):
                of_images, of_this, _ = torch.ops.aten.convolution_backward(
                    *(_images(product), _for_onednn(_images(images)), kernel, None),
                    *([1, 1], beside, [1, 1], False, [0, 0], 1, [True, True, False]),
                )
                total += of_this
                images.copy_(of_images.movedim(1, -1).view_as(images))
            for number, start in enumerate(starts):
                first, last = max(0, start - before), min(len(source), start - before + READ)
                seen = of_input.T[first - start + before : last - start + before]
                of_source[first:last].flatten(1).addmm_(seen, mixed[:, number].flatten(1))
        of_weight = torch.einsum("mt,moijk->oitjk", of_kernel, of_kernels).movedim(2, ctx.axis + 2)
        of_bias = result.flatten(0, -2).sum(0) if ctx.needs_input_grad[2] else None
        return _written(of_x, ctx.axis, of_source), of_weight, of_bias, None, None


@functools.cache
def _mixtures() -> tuple[Tensor, Tensor, Tensor]:
    """Of the input (6, 6), of the kernel (6, 3) and of the output (4, 6)."""
    points = torch.tensor(POINTS, dtype=torch.float64)

    def evaluated(terms: int) -> Tensor:
        """(6, terms): the powers of each point; at infinity only the highest counts."""
        infinity = torch.eye(terms, dtype=torch.float64)[-1:]
        return torch.cat([torch.linalg.vander(points, N=terms), infinity])

    matrices = torch.linalg.inv(evaluated(READ)).T, evaluated(TAPS), evaluated(WRITTEN).T
    of_input, of_kernel, of_output = (matrix.float().contiguous() for matrix in matrices)
    return of_input, of_kernel, of_output


def _axis_first(values: Sequence[int], axis: int) -> list[int]:
    return [values[axis], *values[:axis], *values[axis + 1 :]]


def _slices(x: Tensor, axis: int) -> Tensor:
    """(s, N, p, q, C) of (N, C, d, h, w): the slices across the axis, each in one piece.

    Where they already lie so in memory, as one sample's across the first axis do, this is x itself.
    """
    return _across(x, axis).contiguous()


def _written(x: Tensor, axis: int, slices: Tensor) -> Tensor:
    """x, with these slices, which came from ``_slices``."""
    _across(x, axis).copy_(slices)
    return x


def _across(x: Tensor, axis: int) -> Tensor:
    return x.movedim(1, -1).movedim(axis + 1, 0)


def _kernels(weight: Tensor, axis: int) -> Tensor:
    """(6, out, in, 3, 3), channels last: the mixtures of the kernel's slices across the axis."""
    mixed = torch.einsum("mt,oitjk->mojki", _mixtures()[1], weight.movedim(axis + 2, 2))
    return mixed.contiguous().movedim(-1, 2)


def _groups(source: Tensor, result: Tensor, least: int = 1) -> Iterator[range]:
    """Where the fours of slices of the result begin, as many at a time as are convolved in one call."""
    at_once = WRITTEN * max(least, GROUP_VALUES // max(source[0].numel(), result[0].numel()))
    for start in range(0, len(result), at_once):
        yield range(start, min(start + at_once, len(result)), WRITTEN)


def _workspace(slices: Tensor, groups: Sequence[range]) -> Tensor:
    """(6, n, …), n the fours of slices in the largest of the groups. Made once a call: new memory is slow to touch."""
    return slices.new_empty((READ, len(groups[0]), *slices.shape[1:]))


def _mixed(matrix: Tensor, slices: Tensor, starts: Sequence[int], workspace: Tensor) -> Tensor:
    """(6, n, …): the mixtures of as many slices as the matrix has columns, from each start on.

    Slices that do not exist are zero.
    """
    mixed = workspace[:, : len(starts)]
    for number, start in enumerate(starts):
        first, last = max(0, start), min(len(slices), start + matrix.shape[1])
        torch.mm(
            matrix[:, first - start : last - start], slices[first:last].flatten(1), out=mixed[:, number].flatten(1)
        )
    return mixed


def _images(mixed: Tensor) -> Tensor:
    """(n·N, C, p, q), channels last, of one mixture (n, N, p, q, C)."""
    return mixed.flatten(0, 1).movedim(-1, 1)


def _for_onednn(images: Tensor) -> Tensor:
    """For the gradients of a single small image torch takes its own slow routine, but not in this layout."""
    return images.to_mkldnn() if len(images) == 1 else images
