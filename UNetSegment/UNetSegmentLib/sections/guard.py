"""Qt swallows what a slot raises, so every slot that does work is wrapped here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

Guard = Callable[[Callable[..., Any]], Callable[..., None]]


def makeGuard(logic) -> Guard:
    """A wrapper for slots: what the wrapped function raises becomes a notice (``logic.report``).

    The function receives as many of the signal's arguments as it takes without defaults.
    """

    def guard(action: Callable[..., Any]) -> Callable[..., None]:
        count = _argumentCount(action)

        def slot(*arguments: Any) -> None:
            try:
                action(*arguments[:count])
            except Exception as error:  # the boundary of the panel: nothing above would show it
                logic.report(error)

        return slot

    return guard


def _argumentCount(action: Callable[..., Any]) -> int | None:
    """None: all of them."""
    parameters = inspect.signature(action).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in positional and parameter.default is parameter.empty for parameter in parameters)
