"""The self test that Slicer runs, on the panel's host."""

import sys
import unittest
from pathlib import Path

import host
import pytest
import slicer

from UNetSegmentLib import self_test

MODULE = Path(__file__).resolve().parents[2] / "UNetSegment" / "UNetSegment.py"


@pytest.fixture
def module(scene, monkeypatch):
    """The module, loaded and opened as Slicer does; the real worker is not started before the test brings its own."""
    module, widget = host.loadModule(str(MODULE))
    with monkeypatch.context() as patches:
        patches.setattr("UNetSegmentLib.computation.torchInstalled", lambda: False)
        host.enter(widget)
    yield module
    host.exit(widget)
    host.close(widget)


def test_it_fails_where_a_step_fails(module, monkeypatch):
    monkeypatch.setattr(self_test.UNetSegmentTest, "test_loop", lambda self: self.fail("made up"))
    with pytest.raises(AssertionError, match="made up"):
        slicer.selfTests["UNetSegment"](msec=0)


def test_it_passes_as_ctest_runs_it(module):
    """As ``slicer.testing.runUnitTest`` does: every test case that the module's file has."""
    suite = unittest.TestLoader().loadTestsFromModule(module)
    names = [test.id() for tests in suite for test in tests]
    result = unittest.TextTestRunner(stream=sys.stderr).run(suite)
    assert result.wasSuccessful(), [*result.errors, *result.failures]
    assert names == ["UNetSegmentLib.self_test.UNetSegmentTest.test_loop"]


def test_it_passes_by_the_reload_and_test_button(module):
    slicer.selfTests["UNetSegment"](msec=0)
