"""Names of the program's stages, networks and states in the user's words."""

from __future__ import annotations

from slicer.i18n import tr as _


def stageTitle(stage: str) -> str:
    """What the worker says it is doing; an unknown stage is shown as it is."""
    return {
        "starting": _("Starting"),
        "reading": _("Reading the volume"),
        "segmenting": _("Segmenting"),
        "writing": _("Finishing"),
        "preparing": _("Preparing the slices"),
        "training": _("Learning from the slices"),
        "validating": _("Checking on held-out slices"),
        "saving": _("Saving the new version"),
    }.get(stage, stage)


def networkTitle(network: str) -> str:
    """The name of a network family; an unknown one is shown as it is."""
    return {
        "unet_2d": _("2D U-Net (slice by slice)"),
        "unet_3d": _("3D U-Net"),
        "attention_unet": _("Attention U-Net"),
    }.get(network, network)


def suggestionReason(reason: str) -> str:
    """Why a slice is proposed, for the codes of ``unetseg.suggestion``."""
    return {
        "middle": _("the middle of what was segmented"),
        "orthogonal": _("the middle, seen from another side"),
        "stride": _("the largest gap between the slices you have checked"),
        "uncertainty": _("the model is least sure here"),
        "empty": _("the middle of the volume"),
    }.get(reason, reason)


def sliceCount(count: int) -> str:
    """As “1 slice”, “3 slices”."""
    return _("1 slice") if count == 1 else _("{count} slices").format(count=count)


def volumeCount(count: int) -> str:
    """As “1 volume”, “3 volumes”."""
    return _("1 volume") if count == 1 else _("{count} volumes").format(count=count)


def contentTitle(kind: str) -> str:
    """What lies in the project's folder, for the kinds of ``Project.contents``."""
    return {
        "models": _("Models, all versions"),
        "pieces": _("Pieces of images for retraining"),
        "slices": _("Confirmed slices"),
        "volumes": _("Copies of volumes for training"),
        "results": _("Stored results"),
        "jobs": _("Work files"),
        "other": _("Other files"),
    }.get(kind, kind)


def decimal(value: float | None) -> str:
    """A figure from 0 to 1 with two decimals, or a dash where it is not known."""
    return "–" if value is None else f"{value:.2f}"


def listed(names: list[str]) -> str:
    """Names joined for a sentence: ``a``, ``a and b``, ``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return _("{first} and {last}").format(first=", ".join(names[:-1]), last=names[-1])
