"""The page that tells the loop in pictures, in a radiologist's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

SCENES = {
    "choose": (
        "Choose a volume and a model",
        "The model on hand has learned from images of another scanner, with another contrast.",
    ),
    "segment": (
        "Press Apply",
        "Seconds later there is a segmentation, in the slices and in 3D. As the contrast is unfamiliar, much of it is "
        "wrong. The slices that you see here will never be corrected, so that you can judge what the network learns.",
    ),
    "suggest": (
        "Go to a slice that is worth checking",
        "“Next slice” turns the view to the slice that the panel suggests, and says why it is this one.",
    ),
    "paint": (
        "Correct it as you always do",
        "Paint, draw and erase with the Segment Editor until every structure on this one slice is right. The table "
        "notes that the slice was edited.",
    ),
    "confirm": (
        "Say that it is right",
        "One click, or one key, confirms the slice that the red, green or yellow view shows. Three slices are "
        "confirmed now; all others may stay as wrong as they are.",
    ),
    "retrain": (
        "Retrain",
        "The network learns from the confirmed slices for as long as you allow. You see how it gets on, may stop it "
        "early, and can go on working meanwhile.",
    ),
    "compare": (
        "Compare before you decide",
        "The new version is offered, not forced upon you. The table shows how well the old and the new one agreed "
        "with you on a slice that neither knew yet. In the views, the outlines are the result in use; the new "
        "version would add what is green, remove what is red, and make another structure of what is yellow.",
    ),
    "keep": (
        "Keep it",
        "These are the slices of the second picture, and nobody has corrected them. The slices that you have confirmed "
        "stay exactly as you left them.",
    ),
    "again": (
        "Once more, if you like",
        "Two more slices and another retraining. Every round makes a new version from the first model and all slices "
        "confirmed so far.",
    ),
    "back": (
        "Go back whenever you want",
        "Every version stays in the list until you delete it. Here the first one is in use again; one more click "
        "brings the latest result back, to the voxel.",
    ),
}
"""Title and text of each scene."""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Correct a few slices, get a better network</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 17px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ line-height: 1.2; }}
h2 {{ margin: 3rem 0 0.3rem; }}
p {{ max-width: 46em; margin: 0.3rem 0 0.8rem; }}
img {{ display: block; max-width: 100%; height: auto; border: 1px solid #8888; border-radius: 6px; }}
table {{ border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 0.3rem 1rem; text-align: right; border-bottom: 1px solid #8886; }}
</style>
</head>
<body>
<h1>Correct a few slices, get a better network</h1>
<p>A radiologist segments a volume with UNetSegment in 3D Slicer, corrects a few slices, and lets the network learn
from them. {origin}</p>
{scenes}
<h2>How well it has learned</h2>
<p>Overlap (Dice) with the truth, on the slices that were never corrected: 1 means that both outlines are the same, 0
that they do not touch. Times are those of this computer.</p>
{table}
<p><small>These pictures were made without 3D Slicer, by its libraries and the module's own panel. The Segment Editor is
drawn in a simpler way here; in Slicer it is Slicer's own. Not a medical device; for research only.</small></p>
</body>
</html>
"""


def write_page(path: Path, pictures: Mapping[str, Path], table: Sequence[Sequence[str]], origin: str) -> None:
    """Write the page beside its pictures.

    Args:
        pictures: for each scene in its order the file, in the folder of ``path``.
        table: the header and rows of figures.
        origin: a sentence on the volume.
    """
    scenes = [
        f"<h2>{number}. {title}</h2>\n<p>{text}</p>\n"
        f'<a href="{pictures[name].name}"><img src="{pictures[name].name}" alt="{title}"></a>'
        for number, (name, (title, text)) in enumerate(((name, SCENES[name]) for name in pictures), start=1)
    ]
    header, *rows = table
    lines = [_row("th", header), *(_row("td", row) for row in rows)]
    figures = "<table>\n" + "\n".join(lines) + "\n</table>"
    path.write_text(PAGE.format(origin=escape(origin), scenes="\n".join(scenes), table=figures), encoding="utf-8")


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"
