"""Train a model: the one entrance."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from .. import losses, networks
from ..config import ModelDocument, NetworkConfig, Plan, TrainingRecord
from ..data import annotated_slices, check_annotations, class_counts
from ..data.batches import BatchSource
from ..data.weight_maps import class_weights
from ..errors import CancelledError
from ..inference import CHANNELS_LAST, available_devices, choose_device, interruptible
from ..model_file import Model, check_document, save_model
from ..networks import UNet
from ..planning import fingerprint, guess_modality, make_plan
from ..versions import versions
from ..volume import Shape
from .checkpoint import CheckpointHeader, checkpoint_path, load_checkpoint, stored_header, write_checkpoint
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
    blueprint = _blueprint(request, choice.device)
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
        state = _run(request, blueprint, cases, network, control, report, validate)
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
        notes=(choice.reason,),
    )


@dataclass(frozen=True)
class _Blueprint:
    network: NetworkConfig
    plan: Plan


def _blueprint(request: TrainingRequest, device: torch.device) -> _Blueprint:
    """The network and plan of the start model, or new ones from the fingerprint of the training cases.

    Arguments of the request go before the plan's, and those before the preset's.
    """
    if request.start is not None:
        return _Blueprint(request.start.document.network, request.start.document.plan)
    arguments = {**networks.preset_arguments(request.network, request.preset), **request.network_arguments}
    trained = [case for case in request.cases if case.name not in request.validation]
    prints = fingerprint((case.volume, case.annotation) for case in trained if case.annotation is not None)
    planned = make_plan(
        prints,
        dimensions=2 if request.network == "unet_2d" else arguments.get("dimensions", 3),
        modality=request.modality or guess_modality(prints),
        memory_bytes=_memory_bytes(request, device),
    )
    if not {"depth", "pooling"} & arguments.keys():
        arguments |= planned.network_arguments
    channels = trained[0].volume.array.shape[0]
    config = NetworkConfig(request.network, channels, len(request.labels), arguments)
    with torch.device("meta"):
        multiple = _build(config).size_multiple
    plan = replace(planned.plan, patch_size=_rounded_up(planned.plan.patch_size, multiple))
    if request.resume:  # these follow the device's free memory, which may be another today
        stored = stored_header(checkpoint_path(request.output)).plan
        plan = replace(plan, patch_size=stored.patch_size, batch_size=stored.batch_size)
    return _Blueprint(config, plan)


def _memory_bytes(request: TrainingRequest, device: torch.device) -> int | None:
    """For planning the patch: what the user allows, else on a GPU what is free; on a CPU small patches are quicker."""
    if request.memory_gb is not None:
        return int(request.memory_gb * 2**30)
    if device.type == "cpu":
        return None
    return next(known.free_bytes for known in available_devices() if known.name == str(device))


def _rounded_up(patch_size: Shape, multiple: tuple[int, ...]) -> Shape:
    """The patch that a network of this size multiple takes; a 2D network leaves the first axis alone."""
    d, h, w = (-(-size // m) * m for size, m in zip(patch_size, (1, *multiple)[-3:], strict=True))
    return d, h, w


def _build(config: NetworkConfig) -> UNet:
    return networks.build(config.name, in_channels=config.in_channels, classes=config.classes, **config.arguments)


def _initial_network(request: TrainingRequest, config: NetworkConfig, device: torch.device) -> UNet:
    torch.manual_seed(request.settings.seed)
    network = _build(config) if request.start is None else copy.deepcopy(request.start.network)
    return network.to(device, memory_format=CHANNELS_LAST[network.dimensions])  # type: ignore[call-overload,no-any-return]


def _run(
    request: TrainingRequest,
    blueprint: _Blueprint,
    cases: PreparedCases,
    network: UNet,
    control: Control,
    report: Report,
    validate: Validate | None,
) -> TrainingState:
    """The loop with its tools; afterwards ``network`` holds the weights to be saved."""
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
        counters=Counters(),
    )
    checkpoint = checkpoint_path(request.output)
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
    return state


def training_precision(name: str, device: torch.device) -> torch.dtype:
    """The autocast precision: bfloat16 on a CUDA device that has it, or where it is asked for; else float32."""
    # Not is_bf16_supported: it is true as well of older devices, which only emulate it, slowly.
    has_bfloat16 = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.bfloat16 if name == "bfloat16" or (name == "auto" and has_bfloat16) else torch.float32


def _document(
    request: TrainingRequest, blueprint: _Blueprint, counters: Counters, device: torch.device
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
        settings=request.settings,
        iterations=counters.iteration,
        seconds=round(counters.seconds, 3),
        device=str(device),
        held_out_dice=counters.best_dice,
        versions=versions(),
        finished_utc=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )
    return ModelDocument(blueprint.network, request.labels, blueprint.plan, record)
