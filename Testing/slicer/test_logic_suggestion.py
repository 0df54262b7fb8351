"""The slice that the panel proposes where it is known what the network is unsure of."""

import numpy as np
import pytest

from UNetSegmentLib import next_slice

# The grey values have no order and are the uncertainty, too. The spacing is the same along all axes: slices along D are
# proposed, after the middle one of them and one across it.
MIDDLE, ACROSS = (0, 3), (1, 4)


@pytest.fixture
def byUncertainty(monkeypatch):
    monkeypatch.setattr(next_slice, "SUGGEST_BY_UNCERTAINTY", True)


@pytest.fixture
def loop(loop):
    loop.addVersion()
    loop.addVolume()
    return loop


def proposed(loop):
    suggestion = loop.logic.suggestion
    return (suggestion.axis, suggestion.index), suggestion.reason


def confirmFirst(loop):
    for plane in (MIDDLE, ACROSS):
        assert proposed(loop)[0] == plane
        loop.confirm(*plane)


def learnUnsure(loop, index):
    """The same prediction again, of which the network is only unsure in one slice."""
    labels, unsure = loop.labels(), np.zeros_like(loop.labels())
    unsure[index] = 200
    loop.logic._correcting.setPrediction(labels, labels, labels.copy(), loop.parameters.model, unsure)
    loop.settle()


def test_the_largest_gap_decides_unless_the_project_wants_otherwise(loop):
    loop.segment()
    confirmFirst(loop)
    learnUnsure(loop, 5)
    assert proposed(loop) == ((0, 1), "stride")


def test_the_slice_where_the_network_is_least_sure_is_proposed_and_explained(loop, byUncertainty):
    loop.segment()
    confirmFirst(loop)
    assert proposed(loop)[1] == "uncertainty"
    learnUnsure(loop, 5)
    assert proposed(loop) == ((0, 5), "uncertainty")
    assert loop.ui("correct").suggestionLabel.text == "Next: Axial 6, the model is least sure here."
    loop.press("correct", "skipButton")
    assert proposed(loop) == ((0, 1), "stride")


def test_of_a_prediction_that_undo_brings_back_gaps_decide(loop, byUncertainty):
    loop.segment()
    confirmFirst(loop)
    loop.addVersion(thresholds=(20, 180))
    loop.segment()
    assert proposed(loop)[1] == "uncertainty"
    loop.editor.undo()
    loop.settle()
    assert proposed(loop)[1] == "stride"


def test_what_is_known_of_a_segmentation_is_let_go_with_it(loop, byUncertainty):
    loop.segment()
    assert loop.logic._correcting._nextSlice._scored is not None
    loop.addVolume(seed=1, name="another")
    loop.settle()
    assert loop.logic._correcting._nextSlice._scored is None
