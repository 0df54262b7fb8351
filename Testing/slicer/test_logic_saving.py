"""What is confirmed is saved as it was confirmed, however quickly the user goes on."""

import json

import numpy as np
from loop import image
from nodes import addVolume

from unetseg.array_file import load_array


def confirmAndTurnTo(loop, volume):
    """Without a moment for what is left for idle time; returns the case's folder in the project."""
    loop.logic.jumpTo(0, 2)
    loop.settle()
    folder = loop.folder / "project" / "cases" / loop.logic._correcting.store.caseId
    loop.logic.confirmSlice("Red")
    loop.parameters.volume = volume
    loop.settle()
    assert loop.logic.notice is None
    return folder


def test_the_slices_of_a_volume_are_stored_with_its_own_image(loop):
    loop.addVersion()
    loop.addVolume(seed=0)
    loop.segment()
    folder = confirmAndTurnTo(loop, addVolume(image(1), name="other"))
    assert np.array_equal(load_array(folder / "channel0.npz")[0], image(0))
    assert list(loop.storedSlices()) == [(0, 2)]


def test_the_slices_of_a_volume_are_stored_with_its_own_structures(loop):
    first, second = loop.addVolume(seed=0), addVolume(image(1), name="other")
    loop.parameters.model, loop.parameters.structures = "new:unet_2d", "Liver"
    loop.segment()
    loop.logic.dismissNotice()
    folder = confirmAndTurnTo(loop, second)
    assert json.loads((folder / "case.json").read_text())["labelNames"] == ["Background", "Liver"]
    loop.parameters.volume = first
    assert np.array_equal(load_array(folder / "channel0.npz")[0], image(0))
