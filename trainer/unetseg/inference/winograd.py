"""3D convolutions with half of the multiplications along the first axis: minimal filtering F(4, 3).

Four slices of the output come from six of the input. The six are mixed with fixed weights, each mixture is convolved
in 2D with a mixture of the kernel's three slices, and the four slices are mixtures of the six results: 6 convolutions
in 2D instead of 4·3. In the plane nothing changes.

Exact in real numbers; in float32 it rounds a few times as much as the plain sum of the products, far below what moves
a probability. Sources: Winograd 1980; Lavin & Gray 2016, arXiv 1509.09308, §4.1. A filter is the transpose of a product
of polynomials, and those are evaluated at points, multiplied, and interpolated (Toom and Cook).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

TAPS, WRITTEN, READ = 3, 4, 6
"""Slices of the kernel, of the output and of the input."""
POINTS = (1.0, 0.0, -1.0, 2.0, -2.0)
"""Where polynomials are evaluated, besides at infinity. At the first, 1, every power is 1: what is added to that
product is added to all four slices."""
LEAST_CHANNELS = 32
"""With fewer, mixing takes what the multiplications save (measured: 1.1 times as fast with 16, 1.4 to 1.9 above)."""


def pays(x: Tensor, weight: Tensor, stride: Sequence[int]) -> bool:
    """Whether ``convolve`` may be used, and is faster than the plain convolution."""
    fits = weight.dim() == 5 and weight.shape[2] == TAPS and set(stride) == {1} and x.dtype == torch.float32
    return fits and len(x) == 1 and x.shape[2] >= READ and min(weight.shape[:2]) >= LEAST_CHANNELS


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Sequence[int]) -> Tensor:
    """The convolution of (1, in, d, h, w), channels last, with (out, in, 3, kh, kw); stride 1, zero padding.

    On the CPU by oneDNN; in float32, without gradients.
    """
    of_input, of_kernel, of_output = _mixtures()
    kernels = torch.einsum("mt,oitjk->mojki", of_kernel, weight).movedim(-1, 2)
    channels, *sizes = x.shape[1:]
    depth, height, width = (
        size + 2 * pad - taps + 1 for size, pad, taps in zip(sizes, padding, weight.shape[2:], strict=True)
    )
    slices = x[0].permute(1, 2, 3, 0).reshape(sizes[0], -1)
    y = torch.empty((1, len(weight), depth, height, width), memory_format=torch.channels_last_3d)
    results = y[0].permute(1, 2, 3, 0).view(depth, -1)
    mixed, products = (torch.empty(READ, each.shape[1]) for each in (slices, results))
    images = mixed.view(READ, 1, *sizes[1:], channels).movedim(-1, 2)
    for start in range(0, depth, WRITTEN):
        torch.mm(of_input, _read(slices, start - padding[0]), out=mixed)
        for number, (image, kernel) in enumerate(zip(images, kernels, strict=True)):
            added = bias if number == 0 else None
            product = torch.mkldnn_convolution(image, kernel, added, padding[1:], [1, 1], [1, 1], 1)
            products[number] = product.movedim(1, -1).reshape(-1)
        stop = min(depth, start + WRITTEN)
        torch.mm(of_output[: stop - start], products, out=results[start:stop])
    return y


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


def _read(slices: Tensor, start: int) -> Tensor:
    """Six slices from ``start`` on; those that do not exist are zero."""
    first, last = max(0, start), min(len(slices), start + READ)
    if last - first == READ:
        return slices[first:last]
    padded = slices.new_zeros(READ, slices.shape[1])
    padded[first - start : last - start] = slices[first:last]
    return padded
