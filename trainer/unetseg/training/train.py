"""Train a model: the one entrance."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Callable

import torch

from .. import losses, records
from ..config import ModelDocument, NetworkConfig, TrainingRecord
from ..data import annotated_slices, check_annotations, class_counts
from ..data.batches import BatchSource
from ..data.weight_maps import class_weights
from ..errors import CancelledError
from ..inference import CHANNELS_LAST, choose_device, interruptible
from ..model_file import Model, check_document, save_model
from ..networks import UNet
from ..versions import versions
from .blueprint import Blueprint, build_network, make_blueprint
from .checkpoint import CheckpointHeader, checkpoint_path, load_checkpoint, write_checkpoint
from .control import Control
from .curve import Curve, curve_path
from .loop import Tools, TrainingLoop
from .prepare import PreparedCases, prepare_cases, trained_cases
from .progress import Dice, Progress, Report
from .request import TrainingRequest, TrainingResult, check_request
from .state import Counters, Tensors, TrainingState
from .validation import validator

Validate = Callable[[Tensors], Dice]


def train(request: TrainingRequest, *, control: Control, report: Report) -> TrainingResult:
    """Train a new network, or retrain ``request.start``, on dense and sparse annotations.

    The start model is never changed and the output appears only when the training has ended well (budget used,
    stopped, or no further gain); after an abort or a kill the checkpoint beside it can be resumed.

    Raises ``SettingsError``, ``TrainingDataError``, ``DeviceError``, ``TrainingDivergedError``, ``CancelledError``.
    """
    check_request(request)
    report(Progress("preparing", 0.0))
    classes = len(request.labels)
    warnings = check_annotations(trained_cases(request), classes)
    choice = choose_device(request.device)
    blueprint = make_blueprint(request, choice.device)
    check_document(_document(request, blueprint, Counters(), choice.device))
    cases = prepare_cases(
        request,
        blueprint.plan,
        check_cancel=control.check,
        report=lambda fraction: report(Progress("preparing", fraction)),
    )
    network = _initial_network(request, blueprint.network, choice.device)
    validate = validator(network, cases.held_out, plan=blueprint.plan, classes=classes) if cases.held_out else None
    with interruptible(network, control.check):
        before = validate(network.state_dict()) if validate and request.start else ()
        state, notes = _run(request, blueprint, cases, network, control, report, validate, before)
    if state.counters.iteration == 0:  # stopped before anything was learnt
        raise CancelledError()
    report(Progress("saving", 1.0, state.counters.iteration))
    document = _document(request, blueprint, state.counters, choice.device)
    model = Model(document, network.to("cpu").eval())
    sha256 = save_model(request.output, model)
    if not control.stop_requested:
        checkpoint_path(request.output).unlink(missing_ok=True)
    return TrainingResult(
        model=model,
        path=request.output,
        sha256=sha256,
        iterations=state.counters.iteration,
        seconds=state.counters.seconds,
        held_out_before=before,
        held_out_after=state.counters.best_dice,
        warnings=warnings,
        notes=(choice.reason, *notes),
    )


def _initial_network(request: TrainingRequest, config: NetworkConfig, device: torch.device) -> UNet:
    torch.manual_seed(request.settings.seed)
    network = build_network(config) if request.start is None else copy.deepcopy(request.start.network)
    return network.to(device, memory_format=CHANNELS_LAST[network.dimensions])  # type: ignore[call-overload,no-any-return]


def _run(
    request: TrainingRequest,
    blueprint: Blueprint,
    cases: PreparedCases,
    network: UNet,
    control: Control,
    report: Report,
    validate: Validate | None,
    before: Dice,
) -> tuple[TrainingState, tuple[str, ...]]:
    """The loop with its tools, and what the user should know; afterwards ``network`` holds the weights to be saved."""
    settings, plan, classes = request.settings, blueprint.plan, len(request.labels)
    weights = class_weights(class_counts(cases.trained, classes), settings.class_weight_limits).tolist()
    state = TrainingState(network, settings=settings)
    header = CheckpointHeader(
        network=blueprint.network,
        plan=plan,
        settings=settings,
        parent_sha256=request.start_sha256,
        cases=tuple(case.name for case in request.cases),
        validation_cases=tuple(request.validation),
        held_out_slices={name: tuple(slices) for name, slices in request.held_out_slices.items()},
        counters=Counters(),
    )
    checkpoint = checkpoint_path(request.output)
    if before:  # the model to beat
        state.set_best(before)
    if request.resume:
        load_checkpoint(checkpoint, state, header)
    with Curve(curve_path(request.output), resumed_at=state.counters.iteration) as curve:
        loop = TrainingLoop(
            state,
            Tools(
                batches=BatchSource(
                    cases.trained,
                    patch_size=plan.patch_size,
                    batch_size=plan.batch_size,
                    classes=classes,
                    dimensions=plan.dimensions,
                    augmentation=settings.augmentation,
                    class_weights=weights,
                    edit_weight=settings.edit_weight,
                    seed=settings.seed,
                ),
                loss=losses.build(settings.loss, **dict(settings.loss_arguments)),
                validate=validate,
                write_checkpoint=lambda current: write_checkpoint(checkpoint, current, header),
                log=curve.append,
                report=report,
                control=control,
            ),
            settings=settings,
            precision=training_precision(settings.precision, next(network.parameters()).device),
            freeze_statistics=request.start is not None,
        )
        network.load_state_dict(loop.run())
    return state, tuple(loop.notes)


def training_precision(name: str, device: torch.device) -> torch.dtype:
    """The autocast precision: bfloat16 on a CUDA device that has it, or where it is asked for; else float32."""
    # Not is_bf16_supported: it is true as well of older devices, which only emulate it, slowly.
    has_bfloat16 = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.bfloat16 if name == "bfloat16" or (name == "auto" and has_bfloat16) else torch.float32


def _document(
    request: TrainingRequest, blueprint: Blueprint, counters: Counters, device: torch.device
) -> ModelDocument:
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
        iterations=counters.iteration,
        seconds=round(counters.seconds, 3),
        device=str(device),
        held_out_dice=counters.best_dice,
        versions=versions(),
        finished_utc=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )
    return ModelDocument(blueprint.network, request.labels, blueprint.plan, record)
