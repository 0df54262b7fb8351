"""The examples in docstrings are true."""

import doctest

import pytest

from unetseg import errors
from unetseg.training import schedule


@pytest.mark.parametrize("module", [errors, schedule], ids=lambda module: module.__name__)
def test_examples_in_docstrings_print_what_they_say(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
