from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from unetseg.data import find_cases, load_case
from unetseg.errors import SettingsError
from unetseg.phantom import AORTA, KIDNEYS, LIVER, PHANTOM_LABELS, Domain, make_phantom, write_phantom_cases
from unetseg.volume import LabelMap, Volume

DOMAINS: tuple[Domain, ...] = ("first", "shifted")
SEEDS = range(3)


@functools.cache
def phantom(seed: int, *, domain: Domain = "first", oblique: bool = False) -> tuple[Volume, LabelMap]:
    return make_phantom(np.random.default_rng(seed), domain=domain, oblique=oblique)


def median_of(volume: Volume, labels: LabelMap, value: int) -> float:
    """Inside the structure, away from partial volume."""
    return float(np.median(volume.array[0][ndimage.binary_erosion(labels.array == value)]))


def centre_mm(labels: LabelMap, value: int) -> np.ndarray:
    """LPS position of a structure's centre of mass."""
    return labels.geometry.index_to_world[:3] @ [*ndimage.center_of_mass(labels.array == value), 1.0]


def test_the_same_generator_state_gives_the_same_phantom() -> None:
    one, again, other = (make_phantom(np.random.default_rng(seed), shape=(12, 16, 14)) for seed in (7, 7, 8))
    assert (one[0].array == again[0].array).all()
    assert (one[1].array == again[1].array).all()
    assert (one[1].array != other[1].array).any()


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_body_has_its_organs_in_their_place(domain: Domain, seed: int) -> None:
    volume, labels = phantom(seed, domain=domain)
    assert volume.geometry == labels.geometry
    assert volume.array.min() >= 0
    assert sorted(np.unique(labels.array)) == [label.value for label in PHANTOM_LABELS]
    shares = np.bincount(labels.array.ravel()) / labels.array.size
    assert 0.02 < shares[LIVER] < 0.12
    assert 0.008 < shares[KIDNEYS] < 0.04
    assert 0.006 < shares[AORTA] < 0.025
    pieces, count = ndimage.label(labels.array == KIDNEYS)
    volumes = np.sort(np.bincount(pieces.ravel())[1:])[::-1]
    assert count >= 2
    assert volumes[1] > 0.3 * volumes[0]
    assert (labels.array == AORTA).any(axis=(1, 2)).all()
    assert centre_mm(labels, LIVER)[0] < -5  # on the patient's right
    assert centre_mm(labels, AORTA)[1] > 5  # at the back


@pytest.mark.parametrize("seed", SEEDS)
def test_the_domains_differ_in_contrast_not_in_geometry(seed: int) -> None:
    first = phantom(seed)
    shifted = phantom(seed, domain="shifted")
    assert median_of(*first, LIVER) > median_of(*first, KIDNEYS) > median_of(*first, AORTA)
    assert median_of(*shifted, KIDNEYS) > median_of(*shifted, LIVER) > median_of(*shifted, AORTA)
    assert first[0].geometry == shifted[0].geometry


def test_edges_show_partial_volume() -> None:
    volume, labels = phantom(0)
    kidneys = labels.array == KIDNEYS  # dark in bright fat
    depth, distance = ndimage.distance_transform_edt(kidneys), ndimage.distance_transform_edt(~kidneys)
    layers = (depth > 1.5, depth == 1, distance == 1, (distance > 1) & (distance < 2))
    medians = [float(np.median(volume.array[0][layer])) for layer in layers]
    assert min(np.diff(medians)) > 10


@pytest.mark.parametrize("seed", SEEDS)
def test_an_oblique_grid_shows_the_same_upright_body(seed: int) -> None:
    volume, labels = phantom(seed, oblique=True)
    direction = np.array(volume.geometry.direction)
    assert (np.sort(np.abs(direction), axis=None)[:3] > 0.01).all()
    assert np.linalg.det(direction) == pytest.approx(np.linalg.det([[0, 0, 1], [0, 1, 0], [1, 0, 0]]))
    corner = volume.geometry.index_to_world @ [*(np.array(volume.geometry.shape) - 1), 1.0]
    assert corner[:3] == pytest.approx(-np.array(volume.geometry.origin_mm), abs=1e-9)
    assert centre_mm(labels, LIVER)[0] < -5
    places_mm = np.argwhere(labels.array == AORTA) @ volume.geometry.index_to_world[:3, :3].T
    line = np.linalg.svd(places_mm - places_mm.mean(axis=0), full_matrices=False)[2][0]
    assert abs(line[2]) > 0.85  # along the body, not along the grid


def test_shape_and_spacing_are_those_asked_for() -> None:
    volume, labels = make_phantom(np.random.default_rng(0), shape=(12, 40, 36), spacing_mm=(8.0, 1.5, 1.7))
    assert volume.array.shape == (1, 12, 40, 36)
    assert labels.geometry.spacing_mm == (8.0, 1.5, 1.7)
    assert sorted(np.unique(labels.array)) == [0, 1, 2, 3]


def test_written_cases_come_back_as_they_were_made(tmp_path: Path) -> None:
    names = write_phantom_cases(tmp_path, count=2, seed=5, shape=(16, 24, 20), oblique=True, domain="shifted")
    found = find_cases(tmp_path)
    assert [case.name for case in found.cases] == list(names)
    assert [(label.value, label.name) for label in found.labels] == [(x.value, x.name) for x in PHANTOM_LABELS]
    assert found.modality == "MR"
    volume, labels = make_phantom(np.random.default_rng([5, 1]), shape=(16, 24, 20), oblique=True, domain="shifted")
    case = load_case(found.cases[1])
    assert case.annotation is not None
    assert case.volume.geometry.matches(volume.geometry)
    assert (case.volume.array == volume.array).all()
    assert (case.annotation.array == labels.array).all()


def test_the_data_set_is_described(tmp_path: Path) -> None:
    write_phantom_cases(tmp_path, count=1, seed=0, shape=(8, 8, 8))
    description = json.loads((tmp_path / "dataset.json").read_text())
    assert description["labels"] == {"0": "background", "1": "liver", "2": "kidneys", "3": "aorta"}
    assert description["training"] == [{"image": "images/phantom_000.nii.gz", "label": "labels/phantom_000.nii.gz"}]


def test_bad_options_are_refused() -> None:
    with pytest.raises(SettingsError, match="Did you mean shifted"):
        make_phantom(np.random.default_rng(0), domain="shifted_")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="at least 8 voxels"):
        make_phantom(np.random.default_rng(0), shape=(1, 64, 64))
