"""From the arguments of ``unetseg train`` to a training request."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import get_args

import numpy as np

from ..config import Label, Modality, TrainingSettings
from ..data import Case, CaseList, default_labels, find_cases, load_case
from ..errors import SettingsError, TrainingDataError, unknown_name
from ..files import replay_path
from ..model_file import file_sha256, load_model
from ..networks import preset_arguments
from ..training import TrainingRequest, check_output, check_settings
from ..volume import UNLABELLED
from .arguments import DEFAULT_SECONDS


def training_request(arguments: argparse.Namespace, *, check_cancel: Callable[[], None]) -> TrainingRequest:
    """Reads the labelled cases and the start model; says on stderr what was decided."""
    settings = _settings(arguments)
    check_output(arguments.output, resume=arguments.resume)
    network, preset = arguments.network or TrainingRequest.network, arguments.preset or TrainingRequest.preset
    preset_arguments(network, preset)  # refuses unknown names, before images are read
    if arguments.start_from is not None:
        _check_keeps_its_network(arguments)
    if arguments.modality is not None and arguments.modality not in get_args(Modality):
        raise unknown_name("modality", arguments.modality, get_args(Modality))
    start = None if arguments.start_from is None else load_model(arguments.start_from)
    found = find_cases(arguments.cases)
    cases = _load(found, check_cancel)
    names = [case.name for case in cases]
    validation = held_out(arguments.validation, names, np.random.default_rng(arguments.seed))
    trained = [name for name in names if name not in validation]
    _say(f"Training on {len(trained)} cases; held out: {', '.join(validation) or 'none'}.")
    return TrainingRequest(
        cases=cases,
        output=arguments.output,
        settings=settings,
        labels=start.document.labels if start is not None and not found.labels else _labels(found, cases),
        network=network,
        preset=preset,
        modality=arguments.modality or found.modality,
        start=start,
        start_sha256="" if start is None else file_sha256(arguments.start_from),
        replay=None if start is None else replay_path(arguments.start_from),
        validation=validation,
        device=arguments.device,
        memory_gb=arguments.memory_gb,
        resume=arguments.resume,
    )


def held_out(wish: str, names: Sequence[str], generator: np.random.Generator) -> tuple[str, ...]:
    """The cases to measure on: names joined by commas, or a share of all (rounded down, drawn at random).

    A number is a name where a case is called so. Raises ``SettingsError`` for a name that is not among ``names``
    and for a share outside [0, 1).
    """
    wanted = [name.strip() for name in wish.split(",")]
    unknown = [name for name in wanted if name not in names]
    if not unknown:
        return tuple(wanted)
    try:
        share = float(wish)
    except ValueError:
        raise unknown_name("held-out case", unknown[0], names) from None
    if not 0 <= share < 1:
        raise SettingsError("The share of held-out cases must be at least 0 and below 1", received=wish)
    drawn = generator.choice(len(names), size=int(share * len(names)), replace=False)
    return tuple(names[index] for index in sorted(drawn))


def _settings(arguments: argparse.Namespace) -> TrainingSettings:
    seconds = arguments.seconds
    if seconds is None and arguments.iterations is None:
        seconds = DEFAULT_SECONDS
        _say(f"Training for {seconds / 60:.0f} minutes; --seconds or --iterations changes that.")
    settings = TrainingSettings(
        seconds=seconds,
        iterations=arguments.iterations,
        seed=arguments.seed,
        background_beyond_lines=arguments.background_beyond_lines,
    )
    check_settings(settings)
    return settings


def _check_keeps_its_network(arguments: argparse.Namespace) -> None:
    chosen = {name: getattr(arguments, name) for name in ("network", "preset", "modality")}
    given = ", ".join(f"--{name} {value}" for name, value in chosen.items() if value is not None)
    if given:
        raise SettingsError(
            "A retrained model keeps its network and normalisation",
            received=given,
            remedy="Leave that out, or train a new model without --start-from",
        )


def _load(found: CaseList, check_cancel: Callable[[], None]) -> list[Case]:
    """The labelled cases; the others are counted on stderr."""
    labelled = [files for files in found.cases if files.label is not None]
    if not labelled:
        raise TrainingDataError(
            "Training needs at least one labelled case",
            received=f"{len(found.cases)} cases without labels",
            remedy="Put label maps of the same names as the images into labels/",
        )
    if len(labelled) < len(found.cases):
        _say(f"{len(found.cases) - len(labelled)} cases without labels are left out.")
    cases = []
    for files in labelled:
        check_cancel()
        cases.append(load_case(files))
    return cases


def _labels(found: CaseList, cases: Sequence[Case]) -> tuple[Label, ...]:
    """As the source names them; without names, as many as there are values in the annotations."""
    if found.labels:
        return found.labels
    largest = max(
        int(case.annotation.array[case.annotation.array != UNLABELLED].max(initial=0))
        for case in cases
        if case.annotation is not None
    )
    return default_labels(max(2, largest + 1))


def _say(text: str) -> None:
    print(text, file=sys.stderr)
