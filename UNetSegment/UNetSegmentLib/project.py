"""The project folder: models, cases with their confirmed slices, and the folders of jobs.

    project.json                     format version
    models/<id>.safetensors, .json   one version each; <id>.replay.safetensors: pieces of images that it rehearses
    cases/<id>/                      case.json, channel0.npz …, slices.json, results/<version id>.npz
    jobs/<session>/<number>/         what a job reads and writes

Several Slicers may use one folder: every write is atomic, every version and case has its own files, and a
folder that has changed is read again. No name on disk says anything about a patient. A damaged record is set
aside (``.damaged``), never deleted, and told in ``problems``.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from unetseg.array_file import exhaust
from unetseg.config import Label
from unetseg.errors import FileAccessError, ModelFileError, SettingsError, unknown_name
from unetseg.files import atomic_path, replay_path
from unetseg.labelled_slices import LabelledSlice, save_slices
from unetseg.volume import Shape

from . import cases as caseFiles
from . import versions as versionFiles
from .cases import StoredCase
from .contents import madeFiles
from .disk import FolderCache, checkFreeSpace, copyInSteps, everythingBelow, inWords, remove, subfolders, writeRecord
from .job_folders import JobFolders
from .project_folder import ProjectFolder
from .versions import Listing, Status, Version, newId

SPACE_PER_MODEL = 2.5
"""Times a model's size that a training needs: the checkpoint and its successor hold the weights and more."""


class Project:
    """The project in ``folder``, which is made at the first write, and the models that come with the program.

    Reading never fails: what cannot be read is missing and told in ``problems``. Writing raises
    ``FileAccessError`` where the disk refuses, and ``SettingsError`` in a folder of a newer program; then what
    was there is as it was.
    """

    def __init__(self, folder: Path, shippedFolder: Path | None = None) -> None:
        self._root = ProjectFolder(Path(folder))
        self._shippedFolder = shippedFolder
        self._listings: FolderCache[Listing] = FolderCache()
        self._storedCases: FolderCache[StoredCase] = FolderCache()
        self._jobs = JobFolders(self.folder / "jobs")

    @property
    def folder(self) -> Path:
        """The project's folder; it may be still to be made."""
        return self._root.path

    # ---- versions ----

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

    def export(self, versionId: str, path: Path) -> None:
        """Copy a version's model file to ``path``, replacing what is there, without the pieces of images beside it.

        Raises:
            FileAccessError: the disk refuses, or ``path`` lies among the project's models.
        """
        exhaust(self.exportInSteps(versionId, path))

    def exportInSteps(self, versionId: str, path: Path) -> Generator[None, None, None]:
        """As ``export``, a few milliseconds between two yields."""
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

    def delete(self, versionId: str) -> None:
        """Delete a version's files and the results kept of it; versions retrained from it stay."""
        version, name = self._own(versionId), caseFiles.resultName(versionId)
        with inWords("The files of a version must be removable", version.path):
            versionFiles.removeFiles(version.path)
        self._changed()
        cases = subfolders(self.folder / "cases")
        remove((case / caseFiles.RESULTS / name for case in cases), self.folder)

    # ---- cases ----

    @staticmethod
    def newCaseId() -> str:
        """The id of a case that nobody has stored yet."""
        return newId()

    def caseFolder(self, caseId: str) -> Path:
        """The folder of a case; made where it is missing."""
        return self._root.made("cases", caseFiles.checkCaseId(caseId))

    def imagePaths(self, caseId: str, channels: int) -> tuple[Path, ...]:
        """One ``.npz`` file a channel, to be written or read; their folder is made."""
        return tuple(caseFiles.channelPath(self.caseFolder(caseId), channel) for channel in range(channels))

    def resultFile(self, caseId: str, versionId: str) -> Path:
        """Where the label map that a version has made of a case is kept; the folder is made."""
        name = caseFiles.resultName(versionId)
        return self._root.made("cases", caseFiles.checkCaseId(caseId), caseFiles.RESULTS) / name

    def saveCase(
        self, caseId: str, name: str, slices: Sequence[LabelledSlice], shape: Shape, labels: Sequence[Label]
    ) -> None:
        """Store the confirmed slices of a volume called ``name``, of ``shape`` (D, H, W), for these labels.

        Where they are fewer than before, as from a scene that was saved long ago, the others stay in a file beside.
        """
        exhaust(self.saveCaseInSteps(caseId, name, slices, shape, labels))

    def saveCaseInSteps(
        self, caseId: str, name: str, slices: Sequence[LabelledSlice], shape: Shape, labels: Sequence[Label]
    ) -> Generator[None, None, None]:
        """As ``saveCase``, waiting for the disk once between two yields."""
        folder = self.caseFolder(caseId)
        stored = next((case for case in self.cases() if case.id == caseId), None)
        if stored is not None and stored.slices > len(slices) and stored.annotation.is_file():
            with (
                inWords("The project folder must be writable", folder),
                atomic_path(folder / caseFiles.OLDER_SLICES) as temporary,
            ):
                shutil.copyfile(stored.annotation, temporary)
            yield
        annotation, labelNames = folder / caseFiles.SLICES, tuple(label.name for label in labels)
        save_slices(annotation, slices, shape)
        yield
        case = StoredCase(caseId, name, shape, labelNames, len(slices), (), annotation)
        writeRecord(folder / caseFiles.CASE_RECORD, case, caseFiles.NOT_STORED)
        self._changed()

    def cases(self) -> tuple[StoredCase, ...]:
        """Every stored case, also one whose last slice was removed."""
        return self._readCases()[0]

    # ---- jobs ----

    def newJobFolder(self) -> Path:
        """A new empty folder, safe from ``cleanJobs`` as long as this program lives."""
        self._root.made("jobs")
        return self._jobs.new()

    def unfinishedTrainings(self) -> tuple[Path, ...]:
        """Job folders, oldest first, of trainings that ended with their program and can be resumed."""
        return self._jobs.unfinishedTrainings()

    def cleanJobs(self) -> None:
        """Remove the job folders that programs which died have left, but for unfinished trainings."""
        self._jobs.clean()

    def release(self) -> None:
        """End this program's work in the folder: trainings that it has left can be resumed."""
        self._jobs.release()

    def checkSpaceForTraining(self, modelBytes: int) -> None:
        """Raise ``FileAccessError`` unless the disk has room for a training of a model of that size."""
        checkFreeSpace(self.folder, SPACE_PER_MODEL * modelBytes)

    # ---- the whole folder ----

    def problems(self) -> tuple[str, ...]:
        """What is wrong in the folder, one sentence each: damaged records of this session, and what is missing now."""
        current = [problem for listing in self._models() for problem in listing.problems]
        cases = self._readCases()[1]
        unusable = self._root.problem()
        return (*self._root.damaged, *current, *cases, *([unusable] if unusable else []))

    def contents(self) -> tuple[tuple[str, int], ...]:
        """(kind, bytes) of what ``removeEverything`` removes.

        Kinds: ``models``, ``pieces``, ``slices``, ``volumes``, ``results``, ``jobs``, ``other``; those that are there.
        """
        sizes: dict[str, int] = {}
        with inWords("The project folder must be readable", self.folder):
            for kind, path in self._everything():
                sizes[kind] = sizes.get(kind, 0) + (0 if path.is_dir() else path.lstat().st_size)
        return tuple(sizes.items())

    def removeEverything(self) -> tuple[Path, ...]:
        """Remove all that the program has made in the folder, except jobs that are being worked on.

        Returns:
            Files and links that stay in the folder because somebody else has put them there or uses them.

        Raises:
            FileAccessError: some could not be removed; all others are.
        """
        with inWords("The project folder must be readable", self.folder):
            made = [path for _kind, path in self._everything()]
        self._jobs.release()
        try:
            remove(made, self.folder)
        finally:
            self._root.forget()
            self._changed()
        return tuple(path for path in everythingBelow(self.folder) if path.is_symlink() or not path.is_dir())

    # ---- reading and writing ----

    def _everything(self) -> Iterator[tuple[str, Path]]:
        yield from madeFiles(self.folder)
        yield from (("jobs", path) for path in self._jobs.everything())

    def _models(self) -> tuple[Listing, Listing]:
        """Of the project and of the program."""
        root, shipped = self._root, self._shippedFolder
        own = partial(versionFiles.listVersions, shipped=False, setAside=root.setAside)
        given = partial(versionFiles.listVersions, shipped=True, setAside=root.tellDamaged)
        return (
            Listing() if root.problem() else self._listing(self.folder / "models", own),
            Listing() if shipped is None else self._listing(shipped, given),
        )

    def _listing(self, folder: Path, reader: Callable[[Path], tuple[Listing, bool]]) -> Listing:
        try:
            return self._listings.read(folder, reader)
        except FileNotFoundError:
            return Listing()
        except OSError as error:
            return Listing(problems=(f"The models cannot be read: {folder}: {error.strerror}.",))

    def _readCases(self) -> tuple[tuple[StoredCase, ...], tuple[str, ...]]:
        if self._root.problem():
            return (), ()
        return caseFiles.listCases(self.folder / "cases", self._storedCases, self._root.setAside)

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
        self._listings.forget()
        self._storedCases.forget()
