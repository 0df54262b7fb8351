"""What is said of each model that comes with the extension; ``ship_model.py`` makes its files of it."""

from __future__ import annotations

from dataclasses import dataclass

PERMITTED_LICENCES = {
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
}
"""Of images that a shipped model may have learned from: anybody may use, change and pass on what is made of them."""


@dataclass(frozen=True)
class DataSet:
    """Images that a model has learned from.

    Attributes:
        licence: a name of ``PERMITTED_LICENCES``; the weights are passed on under the same one.
        attribution: who made the images, as their licence wants it said.
        acquisition: what the images show, and how they were made.
    """

    name: str
    url: str
    licence: str
    attribution: str
    citation: str
    acquisition: str


@dataclass(frozen=True)
class Description:
    """One model.

    Attributes:
        id: name of its files without ending.
        name: as shown in the panel.
        hint: what a user has to know before pressing Apply, one sentence.
        segments, audience: what it finds, and who needs that.
        split: which cases it has learned from and which it was tested on.
        title: heading of the section of RESULTS.md that holds its figures.
        dice_columns: of that section's table, one for each structure in the order of the labels.
        limits: one sentence each.
    """

    id: str
    name: str
    hint: str
    segments: str
    audience: str
    data: DataSet
    split: str
    title: str
    dice_columns: tuple[str, ...]
    limits: tuple[str, ...]


HIPPOCAMPUS = DataSet(
    name="Medical Segmentation Decathlon, Task04 Hippocampus",
    url="http://medicaldecathlon.com",
    licence="CC-BY-SA-4.0",
    attribution="Images and labels: Vanderbilt University Medical Center, for the Medical Segmentation Decathlon",
    citation=(
        "M. Antonelli et al.: The Medical Segmentation Decathlon. Nature Communications 13, 4128 (2022). "
        "doi:10.1038/s41467-022-30695-9"
    ),
    acquisition=(
        "T1-weighted MR of adults, healthy or with a psychotic disorder, with voxels of 1 mm, cut out around one "
        "hippocampus, left or right: 31–43 × 40–59 × 24–47 mm."
    ),
)

_REGION = "T1-weighted MR. Draw a region of interest around one hippocampus, about 40 × 60 × 50 mm"
_SPLIT = (
    "By the number in a case's name, modulo 3: cases with 1 trained it, except every tenth of them, which chose the "
    "weights; cases with 2 tested it."
)
_LIMITS = (
    "It has learned from boxes around one hippocampus only. In a whole head it marks other tissue, too: draw a region "
    "around each hippocampus, one after the other.",
    "All images come from one hospital. Other scanners and contrasts, children, strong atrophy, sclerosis, tumours "
    "and operated brains were not among them.",
    "The labels follow one protocol (hippocampus proper and parts of the subiculum); by another, volumes differ.",
    "The table gives the mean; single cases are worse, see the worst one.",
)

DESCRIPTIONS = {
    description.id: description
    for description in (
        Description(
            id="hippocampus_parts_mr",
            name="Hippocampus, anterior and posterior (T1 MR)",
            hint=_REGION,
            segments="the anterior and the posterior part of one hippocampus, as two structures",
            audience=(
                "researchers who measure the parts of the hippocampus, and everybody who wants to try UNetSegment on "
                "real images"
            ),
            data=HIPPOCAMPUS,
            split=_SPLIT,
            title="Hippocampus, unet_3d compact, all slices labelled per case",
            dice_columns=("anterior", "posterior"),
            limits=_LIMITS,
        ),
        Description(
            id="hippocampus_parts_2d_mr",
            name="Hippocampus parts, slice by slice (T1 MR)",
            hint=_REGION,
            segments="the anterior and the posterior part of one hippocampus, each slice on its own, as two structures",
            audience="computers on which a 3D network is too slow, and volumes with thick slices",
            data=HIPPOCAMPUS,
            split=_SPLIT,
            title="Hippocampus, unet_2d compact, all slices labelled per case",
            dice_columns=("anterior", "posterior"),
            limits=_LIMITS,
        ),
        Description(
            id="hippocampus_whole_mr",
            name="Hippocampus, whole (T1 MR)",
            hint=_REGION,
            segments="one hippocampus as one structure",
            audience="researchers who measure the volume of the hippocampus",
            data=HIPPOCAMPUS,
            split=_SPLIT,
            title="Whole hippocampus, attention_unet compact, all slices labelled per case",
            dice_columns=("whole",),
            limits=_LIMITS,
        ),
    )
}
