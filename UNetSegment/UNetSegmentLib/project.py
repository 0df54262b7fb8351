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

import shutil
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from unetseg.config import Label
from unetseg.files import atomic_path
from unetseg.labelled_slices import LabelledSlice, save_slices
from unetseg.volume import Shape

from . import cases as caseFiles
from . import versions as versionFiles
from .cases import StoredCase
from .contents import madeFiles
from .disk import FolderCache, checkFreeSpace, everythingBelow, inWords, remove, subfolders, writeRecord
from .job_folders import JobFolders
from .project_folder import ProjectFolder
from .project_models import ProjectModels
from .versions import newId

SPACE_PER_MODEL = 2.5
"""Times a model's size that a training needs: the checkpoint and its successor hold the weights and more."""


class Project(ProjectModels):
    """The project in ``folder``, which is made at the first write, and the models that come with the program.

    Reading never fails: what cannot be read is missing and told in ``problems``. Writing raises
    ``FileAccessError`` where the disk refuses, and ``SettingsError`` in a folder of a newer program; then what
    was there is as it was.
    """

    def __init__(self, folder: Path, shippedFolder: Path | None = None) -> None:
        super().__init__(ProjectFolder(Path(folder)), shippedFolder)
        self._storedCases: FolderCache[StoredCase] = FolderCache()
        self._jobs = JobFolders(self.folder / "jobs")

    @property
    def folder(self) -> Path:
        """The project's folder; it may be still to be made."""
        return self._root.path

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

    def saveCaseInSteps(
        self, caseId: str, name: str, slices: Sequence[LabelledSlice], shape: Shape, labels: Sequence[Label]
    ) -> Generator[None, None, None]:
        """Store the confirmed slices of a volume called ``name``, of ``shape`` (D, H, W), for these labels.

        Where they are fewer than before, as from a scene that was saved long ago, the others stay in a file beside.
        It waits for the disk once between two yields.
        """
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

    def _readCases(self) -> tuple[tuple[StoredCase, ...], tuple[str, ...]]:
        if self._root.problem():
            return (), ()
        return caseFiles.listCases(self.folder / "cases", self._storedCases, self._root.setAside)

    def _changed(self) -> None:
        super()._changed()
        self._storedCases.forget()
