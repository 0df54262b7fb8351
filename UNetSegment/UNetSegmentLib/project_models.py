"""The models of a project: its own versions, and those that come with the program."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from pathlib import Path

from unetseg.array_file import exhaust
from unetseg.errors import FileAccessError, ModelFileError, SettingsError, unknown_name
from unetseg.files import atomic_path, replay_path

from . import versions as versionFiles
from .disk import FolderCache, copyInSteps, inWords, writeRecord
from .project_folder import ProjectFolder
from .versions import Listing, Status, Version, newId


class ProjectModels:
    """The folder ``models`` of a project, and ``shippedFolder``, which is only read."""

    def __init__(self, root: ProjectFolder, shippedFolder: Path | None) -> None:
        self._root = root
        self._shippedFolder = shippedFolder
        self._listings: FolderCache[Listing] = FolderCache()

    def versions(self) -> tuple[Version, ...]:
        """The project's versions, newest first, then the shipped ones."""
        return tuple(version for listing in self._models() for version in listing.versions)

    def undescribed(self) -> tuple[Path, ...]:
        """Model files that somebody has put into the project by hand: ``add`` them with their description."""
        return self._models()[0].undescribed

    def find(self, versionId: str) -> Version | None:
        """The version, or None where it is not there (any more)."""
        return next((version for version in self.versions() if version.id == versionId), None)

    def version(self, versionId: str) -> Version:
        """The version. Raises ``SettingsError`` where it is not there (any more)."""
        found = self.find(versionId)
        if found is None:
            raise SettingsError("This version is no longer in the project", remedy="Choose another version")
        return found

    def lineage(self, versionId: str) -> tuple[tuple[str, Version | None], ...]:
        """(id, version) from the version itself back to the first; None for the one, at the end, that is deleted."""
        return tuple(versionFiles.lineage(self.versions(), versionId).items())

    def base(self, versionId: str) -> Version | None:
        """The first version of a lineage that is still there; None where the version itself is not."""
        return next((version for _id, version in reversed(self.lineage(versionId)) if version is not None), None)

    def descendants(self, versionId: str) -> tuple[Version, ...]:
        """Versions that were retrained from this one, at once or by way of others."""
        below = (version for version in self.versions() if version.id != versionId)
        return tuple(version for version in below if versionId in dict(self.lineage(version.id)))

    def add(self, modelFile: Path, record: Version) -> Version:
        """Copy a model file into the project; a file put into the models folder by hand is moved to its new name.

        The pieces of images that lie beside it for its retrainings go with it.

        Args:
            record: its description; ``id``, ``path``, ``sha256`` and ``hasPieces`` are given here, and a name that
                is taken or too long is changed.

        Raises:
            ModelFileError: the file is no model, or the project has it already.
        """
        return exhaust(self.addInSteps(modelFile, record))

    def addInSteps(self, modelFile: Path, record: Version) -> Generator[None, None, Version]:
        """As ``add``, a few milliseconds between two yields."""
        versionFiles.checkModelFile(modelFile)
        models = self._root.made("models")
        path = models / f"{newId()}{versionFiles.MODEL_SUFFIX}"
        with (
            inWords("The model file must be readable and the project folder writable", path),
            contextlib.ExitStack() as undo,
        ):
            undo.callback(versionFiles.removeFiles, path)
            hasPieces = replay_path(modelFile).is_file()
            if hasPieces:
                with atomic_path(replay_path(path)) as temporary:
                    yield from copyInSteps(replay_path(modelFile), temporary)
            with atomic_path(path) as temporary:
                sha256 = yield from copyInSteps(modelFile, temporary)
                self._refuseKnown(sha256)
            name = versionFiles.freeName(record.name, self._names())
            version = replace(record, id=path.stem, path=path, sha256=sha256, name=name, hasPieces=hasPieces)
            self._write(version)
            undo.pop_all()
            if modelFile.parent.samefile(models):
                modelFile.unlink()
                replay_path(modelFile).unlink(missing_ok=True)
        self._changed()
        return version

    def setStatus(self, versionId: str, status: Status) -> Version:
        """Offer, keep or reject a version."""
        if status not in versionFiles.OWN_STATUSES:
            raise unknown_name("status of a version", status, versionFiles.OWN_STATUSES)
        return self._write(replace(self._own(versionId), status=status))

    def rename(self, versionId: str, name: str) -> Version:
        """Give a version another name. Raises ``SettingsError`` for one that is empty, too long or taken."""
        version, clean = self._own(versionId), versionFiles.cleanName(name)
        if clean.casefold() in self._names() - {version.name.casefold()}:
            raise SettingsError("Each version needs a name of its own", received=clean, remedy="Type another name")
        return self._write(replace(version, name=clean))

    def exportInSteps(self, versionId: str, path: Path) -> Generator[None, None, None]:
        """Copy a version's model file to ``path``, replacing what is there, without the pieces of images beside it.

        A few milliseconds between two yields.

        Raises:
            FileAccessError: the disk refuses, or ``path`` lies among the project's models.
        """
        version = self.version(versionId)
        with inWords("The chosen folder must be writable and the model file readable", path):
            if path.resolve().parent == version.path.resolve().parent:
                raise FileAccessError(
                    "A model is exported to another folder than that of the project's models",
                    received=path,
                    remedy="Choose another folder",
                )
            with atomic_path(path) as temporary:
                yield from copyInSteps(version.path, temporary)

    def _models(self) -> tuple[Listing, Listing]:
        """Of the project and of the program."""
        root, shipped = self._root, self._shippedFolder
        own = partial(versionFiles.listVersions, shipped=False, setAside=root.setAside)
        given = partial(versionFiles.listVersions, shipped=True, setAside=root.tellDamaged)
        return (
            Listing() if root.problem() else self._listing(root.path / "models", own),
            Listing() if shipped is None else self._listing(shipped, given),
        )

    def _listing(self, folder: Path, reader: Callable[[Path], tuple[Listing, bool]]) -> Listing:
        try:
            return self._listings.read(folder, reader)
        except FileNotFoundError:
            return Listing()
        except OSError as error:
            return Listing(problems=(f"The models cannot be read: {folder}: {error.strerror}.",))

    def _own(self, versionId: str) -> Version:
        version = self.version(versionId)
        if version.status == "shipped":
            raise SettingsError(
                "A version that comes with UNetSegment stays as it is",
                received=version.name,
                remedy="Retrain it: the new version is yours",
            )
        return version

    def _names(self) -> set[str]:
        return {version.name.casefold() for version in self.versions()}

    def _refuseKnown(self, sha256: str) -> None:
        known = next((version for version in self.versions() if version.sha256 == sha256), None)
        if known is not None:
            raise ModelFileError(
                "A model is taken into the project once",
                received=f"the model of version “{known.name}”",
                remedy="Choose that version",
            )

    def _write(self, version: Version) -> Version:
        self._root.made("models")
        writeRecord(versionFiles.recordPath(version.path), version, versionFiles.NOT_STORED)
        self._changed()
        return version

    def _changed(self) -> None:
        """What was read is to be read again."""
        self._listings.forget()
