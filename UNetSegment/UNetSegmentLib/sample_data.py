"""Images to try the module on, offered by Slicer's Sample Data module.

The phantom is made on the spot and needs no network. The hippocampus images are three of the data set Task04 of the
Medical Segmentation Decathlon (http://medicaldecathlon.com), licensed CC BY-SA 4.0.
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from unetseg.errors import FileAccessError
from unetseg.files import atomic_path
from unetseg.volume import Geometry

CATEGORY = "UNetSegment"
PHANTOM = "UNetSegmentPhantom"
HIPPOCAMPUS = "MSD Hippocampus (CC BY-SA 4.0)"

HIPPOCAMPUS_URL = "https://msd-for-monai.s3-us-west-2.amazonaws.com/Task04_Hippocampus.tar"
HIPPOCAMPUS_CHECKSUM = "SHA256:282d808a3e84e5a52f090d9dd4c0b0057b94a6bd51ad41569aef5ff303287771"
HIPPOCAMPUS_CASES = ("hippocampus_008", "hippocampus_011", "hippocampus_014")
"""None of those that the shipped models have learned from."""

PHANTOM_ATTRIBUTE = "UNetSegment.phantom"

_ICONS = Path(__file__).resolve().parents[1] / "Resources" / "Icons"


def registerSampleData() -> None:
    """Offer the images in the Sample Data module; to be called once Slicer has started."""
    from SampleData import SampleDataLogic

    if hasattr(SampleDataLogic, "registerCustomSampleDataCategory"):
        SampleDataLogic.registerCustomSampleDataCategory(CATEGORY, title=_("UNetSegment"))
    SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=PHANTOM,
        uris="unetsegment:phantom",
        fileNames=None,
        customDownloader=loadPhantom,
        thumbnailFileName=str(_ICONS / "UNetSegmentPhantom.png"),
    )
    SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=HIPPOCAMPUS,
        uris=HIPPOCAMPUS_URL,
        fileNames="Task04_Hippocampus.tar",
        checksums=HIPPOCAMPUS_CHECKSUM,
        customDownloader=loadHippocampus,
        thumbnailFileName=str(_ICONS / "UNetSegment.svg"),
    )


def loadPhantom(source: Any = None) -> Any:
    """Add a made-up abdominal MR volume to the scene and show it; every further one is another body.

    ``source`` is what the Sample Data module hands over. Returns the volume node.
    """
    from unetseg.phantom import make_phantom

    with slicer.util.tryWithErrorDisplay(_("The sample data could not be loaded."), waitCursor=True):
        nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        number = 1 + sum(node.GetAttribute(PHANTOM_ATTRIBUTE) is not None for node in nodes)
        volume, _labels = make_phantom(np.random.default_rng(number), domain="shifted")
        node = slicer.util.addVolumeFromArray(volume.array[0], ijkToRas(volume.geometry), f"Phantom {number}")
        node.SetAttribute(PHANTOM_ATTRIBUTE, str(number))
        slicer.util.setSliceViewerLayers(background=node, fit=True)
        return node


def loadHippocampus(source: Any) -> list[Any]:
    """Download the archive of ``source``, unless it is in Slicer's cache, and add its images to the scene.

    Returns the volume nodes.

    Raises:
        FileAccessError: the archive could not be downloaded, or is not the one that it should be.
    """
    from SampleData import SampleDataLogic

    logic = SampleDataLogic()
    with slicer.util.tryWithErrorDisplay(_("The sample data could not be loaded."), waitCursor=True):
        archive = Path(logic.downloadFileIntoCache(source.uris[0], source.fileNames[0], source.checksums[0]))
        # Slicer removes a file of another checksum, and returns its name nevertheless.
        if not archive.is_file():
            raise FileAccessError(
                _("The downloaded file must be the one that was published"),
                received=_("another checksum for {url}").format(url=source.uris[0]),
                remedy=_("Check the network connection and try again"),
            )
        return [
            logic.loadNode(str(path), path.name.partition(".")[0], "VolumeFile", {"singleFile": True})
            for path in extractImages(archive)
        ]


def extractImages(archive: Path) -> tuple[Path, ...]:
    """Unpack the images of ``HIPPOCAMPUS_CASES`` beside the archive, nothing else of it.

    Raises:
        FileAccessError: the archive cannot be read, an image is not in it, or the disk is full.
    """
    paths = tuple(archive.with_name(f"{case}.nii.gz") for case in HIPPOCAMPUS_CASES)
    try:
        with tarfile.open(archive) as content:
            for path in paths:
                member = content.extractfile(f"Task04_Hippocampus/imagesTr/{path.name}")
                with atomic_path(path) as temporary:
                    temporary.write_bytes(member.read())
    except (OSError, tarfile.TarError, KeyError) as error:
        raise FileAccessError(
            _("The downloaded file must be readable"),
            received=f"{archive}: {error}",
            remedy=_("Delete this file and try again"),
        ) from error
    return paths


def ijkToRas(geometry: Geometry) -> np.ndarray:
    """4 × 4 matrix from Slicer's (i, j, k, 1), which are (w, h, d), to RAS millimetres."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ geometry.index_to_world[:, [2, 1, 0, 3]]
