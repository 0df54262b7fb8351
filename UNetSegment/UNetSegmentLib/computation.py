"""The Python that computes: chosen, checked, supplied with PyTorch, and watched."""

from __future__ import annotations

from slicer.i18n import tr as _

from unetseg.errors import SettingsError, UnetsegError
from unetseg.messages import Capabilities, Describe, Failed, Reply

from .install import installPyTorch, torchInstalled
from .job_runner import WorkerFailedError, WorkerLostError
from .state import Notice
from .workspace import Workspace


class Computation:
    """``status`` says in words what the last check found; empty before."""

    def __init__(self, workspace: Workspace) -> None:
        self.status = ""
        self._workspace = workspace
        self._request = ""
        self._silence: Notice | None = None
        self._installed = torchInstalled()
        workspace.worker.replied.connect(self._onReply)
        workspace.worker.ended.connect(self._onEnded)
        workspace.worker.unresponsive.connect(self._onUnresponsive)
        workspace.worker.responsive.connect(self._onResponsive)

    def prepare(self) -> None:
        """Ask what can be computed, where there is hope of an answer and nobody has asked yet."""
        workspace = self._workspace
        self._installed = torchInstalled()
        if workspace.capabilities is None and (workspace.settings.pythonPath or self._installed):
            self._describe()

    def check(self) -> None:
        """Start the chosen Python anew and ask it what it can do.

        Raises:
            SettingsError: it is computing something.
        """
        self._endWorker()
        self._describe()

    def canInstall(self) -> bool:
        """Whether Slicer's own Python is chosen and PyTorch is missing there."""
        return not self._workspace.settings.pythonPath and not self._installed

    def install(self) -> None:
        """Install what the computation needs, after asking.

        Raises:
            UnetsegError: the user declined, or it failed, or something is being computed.
        """
        self._endWorker()
        installPyTorch(self._workspace.ask)
        self._installed = torchInstalled()
        self.check()

    def setPython(self, path: str) -> None:
        """Compute with this interpreter; empty: Slicer's own.

        Raises:
            SettingsError: something is being computed with the one before.
        """
        self._endWorker()
        self._workspace.settings.pythonPath = path
        self._workspace.capabilities = None
        self.status = ""
        self._workspace.changed.emit()

    def deviceChoices(self) -> tuple[tuple[str, str], ...]:
        """(name, title) of every device, with its memory; ``auto`` comes first."""
        known = self._workspace.capabilities
        titles = [("auto", _("Automatic"))]
        for device in known.devices if known is not None else ():
            memory = _("{device}, {memory:.0f} GB")
            title = memory.format(device=device.title, memory=device.memory_gb) if device.memory_gb else device.title
            titles.append((device.name, title))
        return tuple(titles)

    def _endWorker(self) -> None:
        if self._workspace.jobs.status is not None:
            raise SettingsError(
                _("The Python for computation is at work"),
                remedy=_("Wait until the work on its way has ended, or cancel it"),
            )
        self._workspace.worker.shutdown()

    def _describe(self) -> None:
        """Ask beside the work on its way, which needs not wait for the answer."""
        self.status = _("Checking …")
        self._request = self._workspace.requestId()
        self._workspace.worker.send(Describe(self._request))
        self._workspace.changed.emit()

    def _onReply(self, reply: Reply) -> None:
        if reply.request != self._request:
            return
        if isinstance(reply, Capabilities):
            self._onChecked(reply)
        elif isinstance(reply, Failed):
            self._onFailed(WorkerFailedError(reply))

    def _onEnded(self, error: UnetsegError, details: str) -> None:
        if self._request:
            self._onFailed(WorkerLostError(error, details))

    def _onChecked(self, reply: Capabilities) -> None:
        self._request = ""
        self._workspace.capabilities = reply
        devices = ", ".join(title for _name, title in self.deviceChoices()[1:])
        version = reply.versions.get("torch", "?")
        self.status = _("Ready: PyTorch {version} on {devices}").format(version=version, devices=devices)
        self._workspace.changed.emit()

    def _onFailed(self, error: Exception) -> None:
        self._request = ""
        self.status = _("This Python cannot be used for computation")
        install = (("install", _("Install PyTorch")),) if not self._workspace.settings.pythonPath else ()
        self._workspace.report(error, (("settings", _("Open settings")), *install))

    def _onUnresponsive(self, seconds: float) -> None:
        self._workspace.say(
            "warning",
            _("The computation has not answered for {seconds:.0f} seconds.").format(seconds=seconds),
            _("A busy computer may need longer; your volumes and segmentations are safe either way"),
            (("wait", _("Wait")), ("stop", _("Stop it"))),
        )
        self._silence = self._workspace.notice

    def _onResponsive(self) -> None:
        """Another message that has come meanwhile stays."""
        if self._workspace.notice is self._silence:
            self._workspace.dismissNotice()
