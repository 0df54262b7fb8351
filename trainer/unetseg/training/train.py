"""Train a model: the one entrance."""

from __future__ import annotations

import copy
import datetime
from dataclasses import replace

import torch

from .. import records
from ..config import ModelDocument, NetworkConfig, TrainingRecord
from ..data import Case, annotated_slices, check_annotations, class_counts
from ..data.batches import BatchSource
from ..data.weight_maps import class_weights
from ..errors import CancelledError
from ..files import replay_path
from ..inference import CHANNELS_LAST, choose_device, interruptible
from ..model_file import Model, check_document, save_model
from ..networks import UNet
from ..versions import versions
from .blueprint import Blueprint, build_network, make_blueprint
from .checkpoint import checkpoint_path, stored_header
from .contrast import with_contrast
from .control import Control
from .curve import Curve, curve_path
from .held_out import choose_held_out
from .outcome import Outcome
from .prepare import PreparedCases, prepare_cases, trained_cases
from .progress import Dice, Progress, Report
from .replay import Replay, cut_pieces, read_replay, write_replay
from .request import TrainingRequest, TrainingResult, check_request
from .retrain import Retraining
from .schedule import statistics_share
from .stretch import Course
from .validation import validator

INHERITED = ("data", "licence", "attribution", "citation", "use")
"""Of a model's provenance; its command, split and figures are its own."""


def train(request: TrainingRequest, *, control: Control, report: Report) -> TrainingResult:
    """Train a new network, or retrain ``request.start``, on dense and sparse annotations.

    The start model is never changed and the output appears only when the training has ended well (budget used,
    stopped, or no further gain); after an abort or a kill the checkpoint beside it can be resumed. Beside a new model
    lie pieces of its training images, which a retraining from it rehearses.

    Raises ``SettingsError``, ``TrainingDataError``, ``DeviceError``, ``TrainingDivergedError``, ``CancelledError``, and
    ``ModelFileError`` where the pieces beside the start model are damaged or not of such a model.
    """
    check_request(request)
    report(Progress("preparing", 0.0))
    request = _with_held_out_slices(request)
    warnings = check_annotations(_learned_cases(request), len(request.labels))
    choice = choose_device(request.device)
    blueprint = make_blueprint(request, choice.device)
    check_document(_document(request, blueprint, Outcome(0, 0.0), choice.device))
    network = _initial_network(request, blueprint.network, choice.device)
    cases = prepare_cases(
        request,
        blueprint.plan,
        network.size_multiple,
        check_cancel=control.check,
        report=lambda fraction: report(Progress("preparing", fraction)),
    )
    stored = stored_header(checkpoint_path(request.output)) if request.resume else None
    resumed_at = 0 if stored is None else stored.counters.iteration
    with interruptible(network, control.check), Curve(curve_path(request.output), resumed_at=resumed_at) as curve:
        course = Course(request, blueprint, network, curve=curve, control=control, report=report)
        if request.start is None:
            outcome = _learn(course, cases)
        else:
            replay = _pieces(request, blueprint)
            cases, seen_before = _in_known_contrast(course, cases)
            outcome = Retraining(course, cases, replay).run(stored)
            if seen_before is not None:
                outcome = replace(outcome, before=seen_before, improved=True)
    if outcome.iterations == 0:  # stopped before anything was learnt
        raise CancelledError()
    report(Progress("saving", 1.0, outcome.iterations))
    document = _document(request, course.blueprint, outcome, choice.device)
    model = Model(document, network.to("cpu").eval())
    sha256 = save_model(request.output, model)
    pieces = replay_path(request.output)
    pieces.unlink(missing_ok=True)  # they belong to a model of this name that is now replaced
    if request.start is None:
        write_replay(pieces, cut_pieces(cases.trained, blueprint.plan, seed=request.settings.seed))
    if not control.stop_requested:
        checkpoint_path(request.output).unlink(missing_ok=True)
    return TrainingResult(
        model=model,
        path=request.output,
        sha256=sha256,
        iterations=outcome.iterations,
        seconds=outcome.seconds,
        held_out_before=outcome.before,
        held_out_after=outcome.after,
        held_out_slices=sum(map(len, (request.held_out_slices or {}).values())),
        replay_before=outcome.remembered_before,
        replay_after=outcome.remembered_after,
        improved=outcome.improved,
        warnings=warnings,
        notes=(choice.reason, *cases.notes, *course.notes),
    )


def _with_held_out_slices(request: TrainingRequest) -> TrainingRequest:
    """Where a retraining is to choose them, and has no whole cases to be judged on."""
    if request.held_out_slices is not None:
        return request
    if request.start is None or request.validation:
        return replace(request, held_out_slices={})
    return replace(request, held_out_slices=choose_held_out(request.cases, rotation=request.settings.seed))


def _learned_cases(request: TrainingRequest) -> list[Case]:
    """The cases as the network learns from them in the end."""
    return trained_cases(request if request.start is None else replace(request, held_out_slices={}))


def _initial_network(request: TrainingRequest, config: NetworkConfig, device: torch.device) -> UNet:
    torch.manual_seed(request.settings.seed)
    network = build_network(config) if request.start is None else copy.deepcopy(request.start.network)
    return network.to(device, memory_format=CHANNELS_LAST[network.dimensions])  # type: ignore[call-overload,no-any-return]


def _learn(course: Course, cases: PreparedCases) -> Outcome:
    """Train a new network, and leave the weights that did best on the held-out data in it."""
    request, plan, classes = course.request, course.blueprint.plan, len(course.request.labels)
    settings = request.settings
    batches = BatchSource(
        cases.trained,
        patch_size=plan.patch_size,
        batch_size=plan.batch_size,
        classes=classes,
        dimensions=plan.dimensions,
        augmentation=settings.augmentation,
        class_weights=class_weights(class_counts(cases.trained, classes), settings.class_weight_limits).tolist(),
        edit_weight=settings.edit_weight,
        seed=settings.seed,
    )
    validate = validator(course.network, cases.held_out, plan=plan, classes=classes) if cases.held_out else None
    share = statistics_share(settings, cases.trained, plan.dimensions)
    state = course.run("whole", batches, statistics_share=share, resume=request.resume, validate=validate)
    course.network.load_state_dict(state.best or state.average)
    return Outcome(state.counters.iteration, state.counters.seconds, after=state.counters.best_dice)


def _pieces(request: TrainingRequest, blueprint: Blueprint) -> Replay:
    if request.replay is None:
        return Replay()
    return read_replay(request.replay, channels=blueprint.network.in_channels, classes=blueprint.network.classes)


def _in_known_contrast(course: Course, cases: PreparedCases) -> tuple[PreparedCases, Dice | None]:
    """The cases as the network makes most of them, which the plan then says.

    Returns:
        The cases, and where they are inverted the network's Dice on what is held out as it was.
    """
    if not course.request.settings.either_contrast:
        return cases, None
    network, plan, classes = course.network, course.blueprint.plan, len(course.request.labels)
    known, inverted = with_contrast(network, cases.trained, plan, classes=classes)
    if not any(inverted):
        return cases, None
    course.blueprint = replace(course.blueprint, plan=known)
    course.notes.append("The images show bright what the model knew as dark: it now sees their negative.")
    held_out = cases.held_out
    seen = validator(network, held_out, plan=plan, classes=classes)(network.state_dict()) if held_out else ()
    return cases.inverted(inverted), seen


def _document(request: TrainingRequest, blueprint: Blueprint, outcome: Outcome, device: torch.device) -> ModelDocument:
    record = TrainingRecord(
        parent_sha256=request.start_sha256,
        cases=tuple(case.name for case in request.cases if case.name not in request.validation),
        validation_cases=tuple(request.validation),
        annotated_slices=tuple(
            len(annotated_slices(case.annotation))
            for case in request.cases
            if case.name not in request.validation and case.annotation is not None
        ),
        settings=records.to_json(request.settings),
        iterations=outcome.iterations,
        seconds=round(outcome.seconds, 3),
        device=str(device),
        held_out_dice=outcome.after,
        versions=versions(),
        finished_utc=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )
    return ModelDocument(blueprint.network, request.labels, blueprint.plan, record, _inherited(request.start))


def _inherited(start: Model | None) -> dict[str, str]:
    """What the start model says of its origin and licence, which hold for what is made from it, too."""
    known = {} if start is None else start.document.provenance
    return {key: text for key, text in known.items() if key in INHERITED}
