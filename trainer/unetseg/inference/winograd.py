"""3D convolutions with fewer multiplications along one axis: minimal filtering, also of the gradients.

In float32 F(4, 3): four slices of the output come from six of the input. The six are mixed with fixed weights, each
mixture is convolved in 2D with a mixture of the kernel's three slices, and the four slices are mixtures of the six
results: 6 convolutions in 2D instead of 4·3. In the plane nothing changes. All mixing is linear, so that gradients go
back through the transposed mixtures and the same six convolutions. In bfloat16, without gradients, F(2, 3), which mixes
by sums and differences alone: 4 convolutions instead of 2·3.

Exact in real numbers. In float32 it rounds a few times as much as the plain sum of the products, far below what moves a
probability; in bfloat16, where longer filters would round still more, up to 2.5 times as much.
Sources: Winograd 1980; Lavin & Gray 2016, arXiv 1509.09308, §4.1. A filter is the transpose of a product of
polynomials, and those are evaluated at points, multiplied, and interpolated (Toom and Cook).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

ONEDNN: bool = torch.backends.mkldnn.is_available() and hasattr(torch, "mkldnn_convolution")  # type: ignore[no-untyped-call]

TAPS, WRITTEN, READ = 3, 4, 6
"""Slices of the kernel, of the output and of the input."""
POINTS = (1.0, 0.0, -1.0, 2.0, -2.0)
"""Where polynomials are evaluated, besides at infinity. At the first, 1, every power is 1: what is added to that
product is added to all four slices."""
LENGTHS = {torch.float32: WRITTEN, torch.bfloat16: 2}
"""Slices of the output that are made together."""
MIXING_MACS, CALL_MACS = 128, 1e8
"""Multiply-adds that take as long as mixing one value of the input or output, and as the many small calls."""
COPY_COST = 0.05
"""What another axis than the first costs, whose slices have to be copied, as a share of the plain multiplications."""
GROUP_VALUES = 2**20
"""Of as many values as fit, slices are mixed and convolved in one call."""


def pays(x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int]) -> bool:
    """Whether ``convolve`` may be used, and is faster than the plain convolution."""
    if not (ONEDNN and x.is_cpu and x.dtype in LENGTHS and x.dim() == 5 and set(stride) == {1}):
        return False
    return tuple(weight.shape[2:]) == (TAPS,) * 3 and _saves(weight.shape, _sizes(x, padding), x.dtype, len(x))


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Sequence[int]) -> Tensor:
    """The convolution of (N, in, d, h, w), channels last, with (out, in, 3, 3, 3); stride 1, zero padding.

    On the CPU by oneDNN, in float32 or bfloat16. In float32 it has gradients, but no second ones.
    """
    if x.dtype == torch.bfloat16:
        return _convolved_by_two(x, weight, bias, padding)
    sizes = _sizes(x, padding)
    axis = min(_axes(x.dtype), key=lambda axis: _filtered_macs(weight.shape, sizes, x.dtype, len(x), axis))
    y: Tensor = _Convolution.apply(x, weight, bias, tuple(padding), axis)  # type: ignore[no-untyped-call]
    return y


def workspace_values(channels: int, area: int, slices: int, precision: torch.dtype) -> int:
    """What is held beside input and output of a convolution to so many slices of an area, where filtering pays."""
    if not _saves((channels, channels, *[TAPS] * 3), (slices, area, 1), precision):
        return 0
    written = LENGTHS[precision]
    at_once = min(-(-slices // written), max(1, GROUP_VALUES // (area * channels)))
    return 2 * (written + TAPS - 1) * area * channels * at_once


def _sizes(x: Tensor, padding: Sequence[int]) -> list[int]:
    return [size + 2 * pad - TAPS + 1 for size, pad in zip(x.shape[2:], padding, strict=True)]


def _plain_macs(kernel: Sequence[int], sizes: Sequence[int], samples: int) -> float:
    return float(math.prod(kernel) * math.prod(sizes) * samples)


def _saves(kernel: Sequence[int], sizes: Sequence[int], precision: torch.dtype, samples: int = 1) -> bool:
    costs = (_filtered_macs(kernel, sizes, precision, samples, axis) for axis in _axes(precision))
    return min(costs) < _plain_macs(kernel, sizes, samples)


def _axes(precision: torch.dtype) -> range:
    return range(3 if precision == torch.float32 else 1)


def _filtered_macs(
    kernel: Sequence[int], sizes: Sequence[int], precision: torch.dtype, samples: int, axis: int
) -> float:
    """What filtering across this axis costs, in multiply-adds of the plain convolution.

    Args:
        kernel: (out, in, *k). ``sizes``: slices, rows and columns of the output.
    """
    slices, written = sizes[axis], LENGTHS[precision]
    if slices < 1:
        return math.inf
    share = (written + TAPS - 1) * -(-slices // written) / (TAPS * slices) + (COPY_COST if axis else 0.0)
    mixed = (kernel[0] + kernel[1]) * math.prod(sizes) * samples
    return share * _plain_macs(kernel, sizes, samples) + MIXING_MACS * mixed + CALL_MACS


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


def _convolved_by_two(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Sequence[int]) -> Tensor:
    """F(2, 3) across the first axis: y₀ = m₀ + m₁ + m₂ and y₁ = m₁ - m₂ - m₃, where

    m₀ = (d₀ - d₂)·g₀, m₁ = (d₁ + d₂)·(g₀ + g₁ + g₂)/2, m₂ = (d₂ - d₁)·(g₀ - g₁ + g₂)/2 and m₃ = (d₁ - d₃)·g₂.
    """
    written = LENGTHS[torch.bfloat16]
    before, *beside = padding
    count, *plane = _sizes(x, padding)
    surplus = -count % written
    source = _slices(x, 0)
    if before or surplus:
        source = functional.pad(source, (*[0] * 8, before, before + surplus))
    shape = (len(x), len(weight), count + surplus, *plane)
    y = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last_3d)
    result, kernels = _slices(y, 0), _kernels_by_two(weight)
    at_once = written * max(1, GROUP_VALUES // max(source[0].numel(), result[0].numel()))
    for start in range(0, len(result), at_once):
        stop = min(len(result), start + at_once)
        d = [source[start + tap : stop + tap : written] for tap in range(written + TAPS - 1)]
        mixtures = (torch.sub, 0, 2), (torch.add, 1, 2), (torch.sub, 2, 1), (torch.sub, 1, 3)
        m = []
        for number, ((mix, one, other), kernel) in enumerate(zip(mixtures, kernels, strict=True)):
            added = bias if number == 1 else None  # m₁ is in both
            product = torch.mkldnn_convolution(_images(mix(d[one], d[other])), kernel, added, beside, [1, 1], [1, 1], 1)
            m.append(product.movedim(1, -1).reshape(-1, len(x), *plane, len(weight)))
        torch.add(m[0], m[1] + m[2], out=result[start:stop:written])
        torch.sub(m[1].sub_(m[2]), m[3], out=result[start + 1 : stop : written])
    return _written(y, 0, result)[:, :, :count]


def _kernels_by_two(weight: Tensor) -> list[Tensor]:
    first, middle, last = weight.float().unbind(2)
    mixed = first, (first + middle + last) / 2, (first - middle + last) / 2, last
    return [each.to(weight.dtype).contiguous(memory_format=torch.channels_last) for each in mixed]
