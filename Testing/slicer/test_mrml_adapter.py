from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from nodes import OBLIQUE, ORIGIN, SIGNED_PERMUTATIONS, addBend, addLinearTransform, addVolume, affine

from unetseg.errors import ImageError
from UNetSegmentLib.mrml_adapter import (
    channelGeometry,
    indexToWorld,
    regionBox,
    volumeArray,
    volumeGeometry,
    worldToIndex,
)
from UNetSegmentLib.slice_views import fitRegion

pytestmark = pytest.mark.usefixtures("scene")


def small() -> np.ndarray:
    return np.arange(60, dtype=np.int16).reshape(3, 4, 5)


def test_geometry_of_a_hand_computed_volume():
    # I along L (-R), J along S, K along A.
    directions = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
    geometry = volumeGeometry(addVolume(small(), affine(directions)))
    assert geometry.shape == (3, 4, 5)
    assert geometry.spacing_mm == pytest.approx((3.0, 1.1, 0.7))
    assert geometry.origin_mm == (-31.0, 22.5, 17.25)
    # Columns D, H, W in LPS: D grows towards A = -P, H towards S, W towards L.
    assert np.allclose(geometry.direction, [[0, 0, 1], [-1, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize("tilt", [np.eye(3), OBLIQUE], ids=["straight", "oblique"])
def test_geometry_is_what_simpleitk_reads_from_the_exported_volume(tmp_path, tilt):
    for number, directions in enumerate(SIGNED_PERMUTATIONS[::5]):
        node = addVolume(small(), affine(tilt @ directions))
        path = tmp_path / f"{number}.nrrd"
        assert slicer.util.exportNode(node, str(path))
        image = sitk.ReadImage(str(path))
        geometry = volumeGeometry(node)
        assert geometry.shape == image.GetSize()[::-1]
        assert np.allclose(geometry.spacing_mm, image.GetSpacing()[::-1])
        assert np.allclose(geometry.origin_mm, image.GetOrigin())
        assert np.allclose(geometry.direction, np.array(image.GetDirection()).reshape(3, 3)[:, ::-1])
        assert np.array_equal(volumeArray(node), sitk.GetArrayFromImage(image))


def test_array_is_a_view():
    node = addVolume(small())
    volumeArray(node)[2, 3, 4] = -7
    assert slicer.util.arrayFromVolume(node)[2, 3, 4] == -7


def test_a_transform_changes_neither_array_nor_geometry():
    node = addVolume(small())
    before = volumeGeometry(node)
    node.SetAndObserveTransformNodeID(addLinearTransform().GetID())
    assert volumeGeometry(node) == before


def test_empty_volume_is_refused_in_words():
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "MR")
    for read in (volumeArray, volumeGeometry):
        with pytest.raises(ImageError, match=r"“MR” is empty.*Load the images again"):
            read(node)


def test_colours_vectors_and_series_are_refused_in_words():
    colours = slicer.util.addVolumeFromArray(
        np.zeros((3, 4, 5, 3), np.uint8), name="Photo", nodeClassName="vtkMRMLVectorVolumeNode"
    )
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "Cine")
    for node in (colours, series):
        for read in (volumeArray, volumeGeometry):
            with pytest.raises(ImageError, match=f"“{node.GetName()}” holds colours.*Choose a frame"):
                read(node)


def test_sheared_volume_is_refused_with_a_way_out():
    directions = np.eye(3)
    directions[1, 2] = 0.2
    with pytest.raises(ImageError, match=r"right angles.*“CT” is sheared.*Crop Volume"):
        volumeGeometry(addVolume(small(), affine(directions)))


def test_channel_under_the_same_transform_keeps_its_own_grid():
    first, second = addVolume(small()), addVolume(small(), affine(OBLIQUE))
    transform = addBend(first)
    for node in (first, second):
        node.SetAndObserveTransformNodeID(transform.GetID())
    assert channelGeometry(second, first) == volumeGeometry(second)


def test_channel_comes_into_the_frame_of_the_first_through_both_transforms():
    first, second = addVolume(small()), addVolume(small(), affine(OBLIQUE))
    shift, turn = np.eye(4), np.eye(4)
    shift[:3, 3] = (10, 20, 30)
    turn[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    first.SetAndObserveTransformNodeID(addLinearTransform(shift).GetID())
    second.SetAndObserveTransformNodeID(addLinearTransform(turn).GetID())
    geometry = channelGeometry(second, first)
    # By hand: RAS (31, -22.5, 17.25) turned is (22.5, 31, 17.25), shifted back (12.5, 11, -12.75), in LPS:
    assert geometry.origin_mm == pytest.approx((-12.5, -11.0, -12.75))
    # What lies at one place in the first volume's frame lies at one place in the world.
    voxel = np.array([[2.0, 1.0, 4.0]])
    lps = geometry.index_to_world @ [2, 1, 4, 1]
    assert np.allclose(indexToWorld(second, voxel)[0], lps[:3] * (-1, -1, 1) + (10, 20, 30))


def test_channel_bent_against_the_first_is_refused_with_a_way_out():
    first, second = addVolume(small(), name="T1"), addVolume(small(), name="T2")
    second.SetAndObserveTransformNodeID(addBend(second).GetID())
    with pytest.raises(ImageError, match=r"“T1” and “T2”.*Harden the transform"):
        channelGeometry(second, first)


def test_channel_under_a_shearing_transform_is_refused():
    first, second = addVolume(small()), addVolume(small(), name="T2")
    shear = np.eye(4)
    shear[0, 1] = 0.3
    second.SetAndObserveTransformNodeID(addLinearTransform(shear).GetID())
    with pytest.raises(ImageError, match="“T2” is sheared"):
        channelGeometry(second, first)


@pytest.mark.parametrize("transform", [None, addLinearTransform, addBend])
def test_world_to_index_undoes_index_to_world(transform):
    node = addVolume(small(), affine(OBLIQUE))
    if transform is not None:
        parent = transform(node) if transform is addBend else transform()
        node.SetAndObserveTransformNodeID(parent.GetID())
    indices = np.array([[0.0, 0, 0], [2, 3, 4], [1, 2.5, 0.25]])
    positions = indexToWorld(node, indices)
    assert np.allclose(worldToIndex(node, positions), indices, atol=1e-2 if transform is addBend else 1e-9)
    untransformed = np.array(ORIGIN)
    assert np.allclose(positions[0], untransformed) == (transform is None)


def addRegion(centre: tuple[float, float, float], size: tuple[float, float, float]):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Liver region")
    node.SetSize(size)
    node.SetCenterWorld(centre)
    return node


def test_region_holds_the_voxels_whose_centres_it_contains():
    volume = addVolume(small())
    # Along R voxels lie at 31 + 0.7 i, along A at -22.5 + 1.1 j, along S at 17.25 + 3 k.
    region = addRegion((32.0, -21.0, 20.0), (1.0, 2.5, 2.0))
    # R 31.5 … 32.5: i 1, 2.  A -22.25 … -19.75: j 1, 2.  S 19 … 21: k 1.
    assert regionBox(region, volume) == ((1, 1, 1), (2, 3, 3))


def test_region_is_clipped_to_the_volume():
    assert regionBox(addRegion((0.0, 0.0, 0.0), (500.0, 500.0, 500.0)), addVolume(small())) == ((0, 0, 0), (3, 4, 5))


def test_region_beside_the_volume_is_refused_with_a_way_out():
    with pytest.raises(ImageError, match=r"“Liver region” lies beside “CT”.*Drag the region"):
        regionBox(addRegion((0.0, 0.0, 0.0), (9.0, 9.0, 9.0)), addVolume(small()))


def test_region_turned_against_the_volume_gives_the_box_around_it():
    volume = addVolume(np.zeros((21, 21, 21), np.int16), np.eye(4))
    region = addRegion((0.0, 0.0, 0.0), (8.0, 8.0, 8.0))
    matrix = np.eye(4)
    matrix[:2, :2] = np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    matrix[:3, 3] = 10
    region.SetAndObserveTransformNodeID(addLinearTransform(matrix).GetID())
    # Half the diagonal of 8 × 8 is 5.66.
    assert regionBox(region, volume) == ((6, 5, 5), (15, 16, 16))


def test_region_over_a_bent_volume_holds_every_voxel_that_lies_in_it():
    volume = addVolume(np.zeros((12, 16, 20), np.int16))
    volume.SetAndObserveTransformNodeID(addBend(volume, amount_mm=4).GetID())
    indices = np.argwhere(np.ones((12, 16, 20), bool)).astype(float)
    positions = indexToWorld(volume, indices)
    centre, size = np.array((26.0, -20.0, 45.0)), np.array((19.0, 17.0, 36.0))
    inside = indices[(np.abs(positions - centre) < size / 2).all(axis=1)].astype(int)
    start, stop = regionBox(addRegion(tuple(centre), tuple(size)), volume)
    assert (inside.min(axis=0) >= start).all()
    assert (inside.max(axis=0) < stop).all()
    # The box around bent faces is not much larger than what lies in them.
    assert (np.abs(inside.min(axis=0) - start) <= 1).all()
    assert (np.abs(inside.max(axis=0) + 1 - stop) <= 1).all()


@pytest.mark.parametrize("directions", SIGNED_PERMUTATIONS[::7], ids=str)
@pytest.mark.parametrize("transform", [None, addLinearTransform, addBend])
def test_fitted_region_covers_the_volume(directions, transform):
    volume = addVolume(small(), affine(OBLIQUE @ directions))
    if transform is addLinearTransform:
        volume.SetAndObserveTransformNodeID(transform().GetID())
    if transform is addBend:
        volume.SetAndObserveTransformNodeID(transform(volume, amount_mm=0.05).GetID())
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    fitRegion(region, volume)
    assert regionBox(region, volume) == ((0, 0, 0), (3, 4, 5))
    assert sorted(region.GetSize()) == pytest.approx(sorted((3.5, 4.4, 9.0)))
