"""Cancelling in the middle of a pass through a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def interruptible(network: nn.Module, check_cancel: Callable[[], None] | None) -> Iterator[None]:
    """Call ``check_cancel`` before each layer of ``network``, forward and backward, while the context is open.

    What ``check_cancel`` raises ends the pass, so that the wait is one layer, not one pass. None: do nothing.
    """
    if check_cancel is None:
        yield
        return
    check = check_cancel

    def before(module: nn.Module, inputs: Any) -> None:
        check()

    def after(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.requires_grad and torch.is_grad_enabled():
            output.register_hook(lambda gradient: check())  # type: ignore[no-untyped-call]

    layers = [module for module in network.modules() if next(module.children(), None) is None]
    handles = [layer.register_forward_pre_hook(before) for layer in layers]
    handles += [layer.register_forward_hook(after) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
