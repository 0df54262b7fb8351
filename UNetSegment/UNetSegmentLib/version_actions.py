"""What the user does with versions: choose, go back to, rename, hand on, take in, delete."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from slicer.i18n import tr as _

from unetseg.config import ModelDocument
from unetseg.errors import ModelFileError, SettingsError
from unetseg.messages import ModelDescription
from unetseg.records import from_json

from .comparison import meanDice
from .correcting import Correcting
from .job_runner import Steps
from .segmenting import Segmenting
from .state import VersionRow
from .versions import Version, utcNow, versionOf
from .wording import decimal, listed, networkTitle, sliceCount
from .workspace import NEW, Workspace

_NETWORKS = ("unet_3d", "unet_2d", "attention_unet")
"""Offered until the worker has told what it has."""
_UNDECIDED = ("offered", "rejected")


class VersionActions:
    """The list of versions, and one method per thing to do with them."""

    def __init__(self, workspace: Workspace, correcting: Correcting, segmenting: Segmenting) -> None:
        self._workspace = workspace
        self._correcting = correcting
        self._segmenting = segmenting

    def choices(self) -> tuple[tuple[str, str, str], ...]:
        """(id, title, tooltip) of what can be chosen as model: versions in use or kept first, then new networks."""
        workspace = self._workspace
        known = workspace.capabilities
        networks = tuple(network.name for network in known.networks) if known is not None else _NETWORKS
        versions = [version for version in workspace.project.versions() if version.status not in _UNDECIDED]
        new = [(NEW + name, _("New: {network}").format(network=networkTitle(name)), _newTip()) for name in networks]
        return (*((version.id, version.name, self._tip(version)) for version in versions), *new)

    def rows(self) -> tuple[VersionRow, ...]:
        """Every version of the project, newest first."""
        chosen = self._workspace.parameters.model if self._workspace.parameters is not None else ""
        return tuple(self._row(version, chosen) for version in self._workspace.project.versions())

    def use(self, versionId: str) -> None:
        """Choose a version, and show its result: the stored one where there is one, to the voxel."""
        workspace = self._workspace
        version = self._require(versionId)
        problem = self._correcting.whyNotSegmentWith(version.labels)
        if problem:
            raise SettingsError(problem)
        workspace.parameters.model = version.id
        if version.status in _UNDECIDED:
            workspace.project.setStatus(version.id, "kept")
        if workspace.parameters.volume is None:
            return
        target = self._segmenting.target(version)
        stored = self._segmenting.hasStored(target)
        steps = self._segmenting.stored(target) if stored else self._segmenting.steps(target)
        workspace.startJob("segment", _("Going back to this version"), steps, self._segmenting.apply)

    def rename(self, versionId: str, name: str) -> None:
        """Give a version another name."""
        self._workspace.project.rename(versionId, name)
        self._workspace.changed.emit()

    def export(self, versionId: str, path: str) -> None:
        """Write a version's model file somewhere else."""
        workspace = self._workspace
        text = _("The model was written to {path}.").format(path=path)
        steps = workspace.project.exportInSteps(versionId, Path(path))
        workspace.startJob("export", _("Writing the model"), steps, lambda done: workspace.say("info", text))

    def importModel(self, path: str) -> None:
        """Take a model file into the project, once the worker has looked into it."""
        steps = self._imported([Path(path)])
        self._workspace.startJob("import", _("Looking into the model file"), steps, self._onImported)

    def takeIn(self) -> None:
        """Take in the model files that somebody has put into the project's folder by hand."""
        paths = list(self._workspace.project.undescribed())
        if paths and self._workspace.jobs.status is None:
            stage = _("Looking into the model files")
            self._workspace.startJob("import", stage, self._imported(paths), self._onImported)

    def delete(self, versionId: str) -> None:
        """Delete a version's model file.

        Raises:
            SettingsError: the version is in use.
        """
        if versionId == self._workspace.parameters.model:
            raise SettingsError(
                _("The version in use cannot be deleted"),
                received=self._require(versionId).name,
                remedy=_("Choose another version first"),
            )
        self._workspace.project.delete(versionId)
        self._workspace.changed.emit()

    def _require(self, versionId: str) -> Version:
        version = self._workspace.project.find(versionId)
        if version is None:
            raise SettingsError(_("This version is no longer there"), remedy=_("Choose another one"))
        return version

    def _imported(self, paths: list[Path]) -> Steps:
        """Steps of a job that takes in every file that is a model, and then fails where one is none."""
        reply = yield from self._workspace.describe(tuple(paths))
        versions, failures = [], []
        for path, description in zip(paths, reply.models, strict=True):
            try:
                document = _document(description)
                record = versionOf(document, id="", name=path.stem, status="own", createdUtc=utcNow())
                versions.append((yield from self._workspace.project.addInSteps(path, record)))
            except ModelFileError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return versions

    def _onImported(self, versions: list[Version]) -> None:
        names = listed([_("“{name}”").format(name=version.name) for version in versions])
        text = _("{names} can be chosen as model now.").format(names=names)
        if any(version.hasPieces for version in versions):
            text += " " + _("Pieces of images for retraining lay beside and were taken in, too.")
        self._workspace.say("info", text)

    def _row(self, version: Version, chosen: str) -> VersionRow:
        inUse = version.id == chosen
        titles = {
            "shipped": _("built in"),
            "own": _("taken in"),
            "offered": _("offered"),
            "kept": _("kept"),
            "rejected": _("rejected"),
        }
        parent = self._workspace.project.find(version.parent)
        removable = not inUse and version.status != "shipped"
        return VersionRow(
            version.id,
            version.name,
            parentName=parent.name if parent is not None else (_("deleted") if version.parent else ""),
            createdText=datetime.fromisoformat(version.createdUtc).astimezone().strftime("%Y-%m-%d %H:%M"),
            slices=version.slices,
            figureText=_figure(version),
            statusText=_("in use") if inUse else titles[version.status],
            inUse=inUse,
            removable=removable,
            hasPieces=version.hasPieces,
        )

    def _tip(self, version: Version) -> str:
        names = ", ".join(label.name for label in version.labels if label.value)
        text = _("{network}; structures: {names}; learned from {slices}")
        text = text.format(network=networkTitle(version.network), names=names, slices=sliceCount(version.slices))
        return "\n".join(filter(None, (text, version.note)))


def _newTip() -> str:
    return _("Starts from nothing: name the structures, paint and confirm a few slices, then retrain")


def _figure(version: Version) -> str:
    before, after = (meanDice(values) for values in version.heldOut)
    return "" if after is None else _("{before} → {after}").format(before=decimal(before), after=decimal(after))


def _document(description: ModelDescription) -> ModelDocument:
    if description.document is None:
        raise ModelFileError(
            _("This file is not a model that UNetSegment can use"),
            received=description.failure,
            remedy=_("Choose a .safetensors file that UNetSegment has written"),
        )
    return from_json(ModelDocument, dict(description.document))
