"""What the tests of retraining share: a start model, a request, and views into its stretches."""

from __future__ import annotations

from typing import Any

import pytest

from ball_retraining import HELD_OUT, LABELS, SHORT, ball_case, new_model, sparse
from unetseg.training import Progress, TrainingRequest, TrainingResult, retrain, stretch
from unetseg.training.gate import AVERAGED, Verdict
from unetseg.training.state import Tensors, copied


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    return new_model(tmp_path_factory.mktemp("start"))


@pytest.fixture
def request_(start, tmp_path) -> TrainingRequest:
    return TrainingRequest(
        cases=[sparse(ball_case(3))],
        output=tmp_path / "next.safetensors",
        settings=SHORT,
        labels=LABELS,
        device="cpu",
        start=start.model,
        start_sha256=start.sha256,
        held_out_slices=HELD_OUT,
    )


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[Verdict]:
    """What the gate says, whatever it is shown: the one verdict in this list."""
    verdicts = [Verdict(AVERAGED, (0.25,), (0.75,))]
    monkeypatch.setattr(retrain, "judge", lambda *arguments, **options: verdicts[0])
    return verdicts


@pytest.fixture
def stretches(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensors]:
    """The averaged weights at the end of each stretch."""
    ends: dict[str, Tensors] = {}
    run = stretch.Course.run

    def recorded(course: stretch.Course, name: Any, *arguments: Any, **options: Any) -> Any:
        state = run(course, name, *arguments, **options)
        ends[name] = copied(state.average)
        return state

    monkeypatch.setattr(stretch.Course, "run", recorded)
    return ends


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Progress]:
    monkeypatch.setattr("unetseg.training.loop.REPORT_INTERVAL_SECONDS", 0.0)
    return []
