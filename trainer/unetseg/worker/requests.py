"""From a request message to its job: paths resolved, JSON checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any, TypeVar, get_args

from .. import image_io, jobs
from ..config import Label, Modality, TrainingSettings
from ..data import Case, Slice, read_annotation
from ..errors import SettingsError, unknown_name
from ..files import replay_path
from ..messages import Describe, Evaluate, Release, Reply, Request, Segment, Train, TrainingCase
from ..model_file import file_sha256
from ..records import RecordError, from_json
from ..training import Control, TrainingRequest

Record = TypeVar("Record")


class Performer:
    """Does requests, with models and images kept warm between them."""

    def __init__(self) -> None:
        self.warm = jobs.Warm()

    def new_control(self) -> Control:
        return Control()

    def perform(self, request: Request, control: Control, report: jobs.Report) -> Reply | None:
        """The final reply, without its request id; None for a request that has none."""
        if isinstance(request, Describe):
            return jobs.describe([Path(model) for model in request.models])
        if isinstance(request, Segment):
            return self._segment(request, control, report)
        if isinstance(request, Train):
            return jobs.train(self._training_request(request), control=control, report=report)
        if isinstance(request, Evaluate):
            prediction, reference = Path(request.folder, request.prediction), Path(request.folder, request.reference)
            return jobs.evaluate(prediction, reference, tolerance_mm=request.tolerance_mm)
        if isinstance(request, Release):
            self.warm.release()
        return None

    def _segment(self, request: Segment, control: Control, report: jobs.Report) -> Reply:
        def result(name: str | None) -> Path | None:
            return None if name is None else result_path(request.folder, name)

        return jobs.segment(
            Path(request.folder, request.model),
            [Path(request.folder, image) for image in request.images],
            label_map=result_path(request.folder, request.label_map),
            uncertainty=result(request.uncertainty),
            probabilities=result(request.probabilities),
            confirmed=None if request.confirmed is None else Path(request.folder, request.confirmed),
            region=request.region,
            device=request.device,
            memory_gb=request.memory_gb,
            warm=self.warm,
            control=control,
            report=report,
        )

    def _training_request(self, request: Train) -> TrainingRequest:
        start_file = None if request.start_from is None else Path(request.folder, request.start_from)
        start = None if start_file is None else self.warm.model(start_file)
        labels = tuple(_record(Label, label) for label in request.labels)
        return TrainingRequest(
            cases=[_case(request.folder, case) for case in request.cases],
            output=result_path(request.folder, request.output),
            settings=_record(TrainingSettings, request.settings),
            labels=start.document.labels if start is not None and not labels else labels,
            network=request.network,
            preset=request.preset,
            network_arguments=request.network_arguments,
            modality=_modality(request.modality),
            start=start,
            start_sha256="" if start_file is None else file_sha256(start_file),
            replay=None if start_file is None else replay_path(start_file),
            validation=request.validation,
            held_out_slices=_held_out_slices(request.cases),
            device=request.device,
            memory_gb=request.memory_gb,
            resume=request.resume,
        )


def result_path(folder: str, name: str) -> Path:
    """Where a result goes. Raises ``SettingsError`` unless ``name`` leads into the job folder, on every platform."""
    windows = PureWindowsPath(name)
    home, path = Path(folder).resolve(), Path(folder, name).resolve()
    if windows.drive or windows.root or ".." in windows.parts or home not in path.parents:
        raise SettingsError(
            "A result must be named relative to the job folder and lie inside it",
            received=name,
            remedy="Give the name of a file inside the job folder",
        )
    return Path(folder, name)


def _held_out_slices(cases: Sequence[TrainingCase]) -> dict[str, Sequence[Slice]] | None:
    """Per case that names any; None where no case has anything to say about it."""
    named = {case.name: case.held_out_slices for case in cases if case.held_out_slices is not None}
    return {name: slices for name, slices in named.items() if slices} if named else None


def _case(folder: str, case: TrainingCase) -> Case:
    volume = image_io.read_volume([Path(folder, image) for image in case.images])
    path = Path(folder, case.annotation)
    if case.edited is not None and path.suffix.lower() == ".json":
        raise SettingsError(
            "An annotation of confirmed slices says itself which voxels were edited",
            received=f"the mask {case.edited} beside {case.annotation}",
            remedy="Leave the mask out",
        )
    annotation, edited = read_annotation(path, volume.geometry)
    if case.edited is not None:
        edited = image_io.read_label_map(Path(folder, case.edited)).array != 0
    return Case(case.name, volume, annotation, edited)


def _record(kind: type[Record], data: Mapping[str, Any]) -> Record:
    try:
        return from_json(kind, data)
    except RecordError as error:
        raise SettingsError(
            "The settings of a training must be known ones of the right type", received=error
        ) from error


def _modality(name: str | None) -> Modality | None:
    if name is not None and name not in get_args(Modality):
        raise unknown_name("modality", name, get_args(Modality))
    return name  # type: ignore[return-value]
