import pytest

from unetseg.errors import ProtocolError, SettingsError
from unetseg.messages import Capabilities, Describe, DeviceDescription, Failed
from UNetSegmentLib import computation as module
from UNetSegmentLib.computation import Computation
from UNetSegmentLib.state import JobStatus
from UNetSegmentLib.workspace import Workspace

CPU, GPU = DeviceDescription("cpu", "Processor", 23.5), DeviceDescription("cuda:0", "Big card", None)


def answer(request):
    return Capabilities(request, (), (), (), (), (CPU, GPU), {"torch": "2.13.0"})


@pytest.fixture
def workspace(scene, monkeypatch):
    workspace = Workspace()
    workspace.sent, workspace.ended = [], 0
    monkeypatch.setattr(workspace.worker, "send", workspace.sent.append)
    monkeypatch.setattr(workspace.worker, "shutdown", lambda: setattr(workspace, "ended", workspace.ended + 1))
    monkeypatch.setattr(module, "torchInstalled", lambda: True)
    return workspace


@pytest.fixture
def computation(workspace):
    return Computation(workspace)


def test_the_answer_is_told_in_words_and_lists_the_devices(computation, workspace):
    assert computation.deviceChoices() == (("auto", "Automatic"),)
    computation.prepare()
    (request,) = workspace.sent
    assert isinstance(request, Describe)
    assert computation.status == "Checking …"
    workspace.worker.replied.emit(answer(request.id))
    assert computation.status == "Ready: PyTorch 2.13.0 on Processor, 24 GB, Big card"
    assert computation.deviceChoices() == (
        ("auto", "Automatic"),
        ("cpu", "Processor, 24 GB"),
        ("cuda:0", "Big card"),
    )
    computation.prepare()
    assert len(workspace.sent) == 1


def test_where_there_is_no_pytorch_nobody_is_asked(workspace, monkeypatch):
    monkeypatch.setattr(module, "torchInstalled", lambda: False)
    computation = Computation(workspace)
    computation.prepare()
    assert workspace.sent == []
    assert computation.canInstall()
    workspace.settings.pythonPath = "/opt/python"
    assert not computation.canInstall()
    computation.prepare()
    assert len(workspace.sent) == 1


def test_a_refusal_and_a_death_become_one_notice_with_two_ways_out(computation, workspace):
    for fail in (
        lambda request: workspace.worker.replied.emit(Failed(request.id, "device", "The rule", "", "The remedy")),
        lambda request: workspace.worker.ended.emit(ProtocolError("It ended"), "log"),
    ):
        computation.check()
        fail(workspace.sent[-1])
        assert computation.status == "This Python cannot be used for computation"
        assert [code for code, _title in workspace.notice.actions] == ["settings", "install"]
        workspace.dismissNotice()


def test_answers_to_others_are_not_taken(computation, workspace):
    computation.prepare()
    workspace.worker.replied.emit(answer("somebody else's"))
    assert workspace.capabilities is None
    workspace.worker.replied.emit(answer(workspace.sent[0].id))
    workspace.worker.ended.emit(ProtocolError("It ended"), "log")
    assert workspace.notice is None


@pytest.mark.parametrize("action", ["check", "install", "setPython"])
def test_a_python_at_work_is_not_taken_away(computation, workspace, monkeypatch, action):
    installed = []
    monkeypatch.setattr(module, "installPyTorch", installed.append)
    workspace.jobs.status = JobStatus("train")
    with pytest.raises(SettingsError, match="at work"):
        getattr(computation, action)(*(["/opt/python"] if action == "setPython" else []))
    assert (workspace.ended, workspace.sent, installed, workspace.settings.pythonPath) == (0, [], [], "")


def test_another_python_is_asked_anew(computation, workspace):
    computation.prepare()
    workspace.worker.replied.emit(answer(workspace.sent[0].id))
    computation.setPython("/opt/python")
    assert (workspace.ended, workspace.capabilities, computation.status) == (1, None, "")
    assert workspace.settings.pythonPath == "/opt/python"


def test_silence_is_told_with_wait_and_stop_and_forgotten_when_it_ends(computation, workspace):
    workspace.worker.unresponsive.emit(30.0)
    assert "30 seconds" in workspace.notice.text
    assert [code for code, _title in workspace.notice.actions] == ["wait", "stop"]
    workspace.worker.responsive.emit()
    assert workspace.notice is None


def test_the_end_of_a_silence_leaves_another_message_alone(computation, workspace):
    workspace.worker.unresponsive.emit(30.0)
    workspace.say("info", "Something else")
    workspace.worker.responsive.emit()
    assert workspace.notice.text == "Something else"
