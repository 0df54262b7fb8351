"""The panel's icons: each in light and dark, readable on both, small."""

import re
from pathlib import Path

import pytest
import qt
import slicer

from UNetSegmentLib.icons import ICON_NAMES, ICONS_FOLDER, icon

MAX_BYTES = 3000
WINDOW = {"light": "#f0f0f0", "dark": "#2b2b2b"}


def svgText(theme, name):
    return (ICONS_FOLDER / theme / f"{name}.svg").read_text(encoding="utf-8")


def colors(text):
    """In the order in which they are painted, each once."""
    return list(dict.fromkeys(re.findall("#[0-9a-f]{6}", text)))


def luminance(color):
    """Relative luminance of WCAG 2.1 for ``#rrggbb``."""
    parts = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first, second):
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def rendered(name):
    image = icon(name).pixmap(qt.QSize(32, 32)).toImage()
    assert not image.isNull()
    return bytes(image.convertToFormat(qt.QImage.Format_ARGB32).constBits())


@pytest.fixture
def windowColor(slicerApp):
    """A function that sets the colour of all windows."""
    before = slicer.app.palette()

    def setColor(color):
        palette = slicer.app.palette()
        palette.setColor(qt.QPalette.Window, qt.QColor(color))
        slicer.app.setPalette(palette)

    yield setColor
    slicer.app.setPalette(before)


@pytest.mark.parametrize("theme", WINDOW)
def test_each_theme_has_the_named_icons_and_no_other(theme):
    assert {path.stem for path in (ICONS_FOLDER / theme).iterdir()} == set(ICON_NAMES)


@pytest.mark.parametrize(
    "path", sorted(ICONS_FOLDER.rglob("*.svg")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_an_icon_is_a_small_drawing(path: Path):
    assert path.stat().st_size < MAX_BYTES
    assert qt.QIcon(str(path)).pixmap(qt.QSize(16, 16)).isNull() is False


@pytest.mark.parametrize("name", ICON_NAMES)
def test_light_and_dark_are_the_same_drawing_in_other_colours(name):
    light, dark = (re.sub("#[0-9a-f]{6}", "#", svgText(theme, name)) for theme in ("light", "dark"))
    assert light == dark
    assert not set(colors(svgText("light", name))) & set(colors(svgText("dark", name)))


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", WINDOW)
@pytest.mark.parametrize("name", ICON_NAMES)
def test_every_icon_stands_out_from_its_window(theme, name):
    """By the 3:1 that WCAG 2.1 asks of graphics; what is drawn on the shape stands out from the shape."""
    shape, *drawnOn = colors(svgText(theme, name))
    assert contrast(shape, WINDOW[theme]) >= 3
    assert all(contrast(color, shape) >= 3 for color in drawnOn)


def test_the_icon_follows_the_window(windowColor):
    windowColor(WINDOW["light"])
    light = {name: rendered(name) for name in ICON_NAMES}
    windowColor(WINDOW["dark"])
    dark = {name: rendered(name) for name in ICON_NAMES}
    assert all(light[name] != dark[name] for name in ICON_NAMES)
    assert len(set(light.values())) == len(ICON_NAMES)
