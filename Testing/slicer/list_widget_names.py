"""Write ``widget_names.json``: what ctk and qMRML widgets really have, read from the headers of Slicer and CTK.

    python Testing/slicer/list_widget_names.py ~/src/Slicer ~/src/CTK

Both arguments are git clones with their tags. A name counts only if it is in every supported release, so that code
that keeps to the list runs on all of them. A method counts only if Python can call it: CTK and Slicer widgets show
slots and ``Q_INVOKABLE`` methods to PythonQt, but no plain setter or getter of a property.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import subprocess
from pathlib import Path
from typing import Any

RELEASES = ("v5.10.0", "v5.12.3", "HEAD")
CLASSES = (
    "ctkCollapsibleButton",
    "ctkDirectoryButton",
    "ctkPathLineEdit",
    "qMRMLNodeComboBox",
    "qMRMLPlotView",
    "qMRMLSegmentEditorWidget",
    "qMRMLSegmentsTableView",
    "qMRMLWidget",
)
OUTPUT = Path(__file__).with_name("widget_names.json")

Names = dict[str, Any]


@functools.cache
def show(repository: Path, revision: str, path: str) -> str:
    """The content of a file at a revision."""
    return subprocess.check_output(["git", "-C", repository, "show", f"{revision}:{path}"], text=True)


@functools.cache
def headers(repository: Path, revision: str) -> dict[str, str]:
    """Class name -> path of its header."""
    listing = subprocess.check_output(["git", "-C", repository, "ls-tree", "-r", "--name-only", revision], text=True)
    paths = [Path(line) for line in listing.splitlines() if line.endswith(".h") and "Testing" not in line]
    return {path.stem: str(path) for path in paths if path.stem.startswith(("ctk", "qMRML", "qSlicer"))}


def class_body(header: str, name: str) -> tuple[str, str]:
    """The base class, and the body without comments, preprocessor lines and function bodies."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*|^\s*#[^\n]*", "", header, flags=re.DOTALL | re.MULTILINE)
    declaration = re.search(rf"class\s+(?:\w+_EXPORT\s+)?{name}\s*:\s*public\s+(\w+)[^{{]*{{", text)
    if declaration is None:
        raise ValueError(f"{name} is not declared in its header")
    depth, body = 1, []
    for character in text[declaration.end() :]:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            break
        if depth == 1:
            body.append(";" if character == "}" else character)
    return declaration[1], "".join(body)


def normalized(arguments: str) -> str:
    """Argument types as Qt writes them in a signature: ``const QString& text = ""`` is ``QString``."""
    types = []
    for argument in filter(None, (part.split("=")[0].strip() for part in arguments.split(","))):
        type_ = re.sub(r"^const\s+(.*?)\s*&", r"\1 ", argument)
        words = re.sub(r"\s*\*", "* ", type_).split()
        types.append(words[0])
    return ",".join(types)


def enumerators(header: str, name: str) -> dict[str, int]:
    """Every enumerator of the class with its value."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", header, flags=re.DOTALL)
    text = text[re.search(rf"class\s+(?:\w+_EXPORT\s+)?{name}\s*:", text).start() :]  # type: ignore[union-attr]
    values: dict[str, int] = {}
    for body in re.findall(r"enum\s+\w+\s*{([^}]*)}", text.split("\n};")[0]):
        value = -1
        for entry in filter(None, (part.strip() for part in body.split(","))):
            key, _, expression = (part.strip() for part in entry.partition("="))
            terms = [
                values[term] if term in values else int(term, 0) for term in re.split(r"\s*\|\s*", expression) if term
            ]
            value = sum(terms) if terms else value + 1
            values[key] = value
    return values


def own_names(header: str, name: str) -> tuple[str, Names]:
    """The base class and what the class itself declares."""
    base, body = class_body(header, name)
    body = re.sub(r"=\s*[\w:]+\(\)", "", body)  # a default argument such as QVariant()
    properties = re.findall(r"Q_PROPERTY\s*\(\s*[\w:<>, ]+?[ *&]+(\w+)\s+READ", body)
    signals, methods, access = [], [], "private"
    for statement in re.split(r";|(?<=[\w\s]):(?!:)", re.sub(r"Q_PROPERTY\s*\(.*?\)(?=\s)", "", body)):
        words = statement.split()
        if words and words[-1] in ("public", "protected", "private", "slots", "Q_SLOTS", "signals", "Q_SIGNALS"):
            access = " ".join(words[-2:]) if words[-1] in ("slots", "Q_SLOTS") else words[-1]
            continue
        function = re.search(r"(~?\w+)\s*\(([^()]*)\)[^()]*$", statement)
        if function is None or function[1] == name or function[1].startswith(("~", "Q_")):
            continue
        if access in ("signals", "Q_SIGNALS"):
            signals.append(f"{function[1]}({normalized(function[2])})")
        elif access in ("public slots", "public Q_SLOTS") or (access == "public" and "Q_INVOKABLE" in statement):
            methods.append(function[1])
    return base, {
        "properties": properties,
        "signals": signals,
        "methods": methods,
        "enumerators": enumerators(header, name),
    }


def all_names(name: str, slicer: Path, ctk: Path, release: str) -> Names:
    """What the class and its bases declare, down to the class of Qt."""
    pin = re.search(r'_GIT_TAG\s+"(\w+)"', show(slicer, release, "SuperBuild/External_CTK.cmake"))
    collected: Names = {"properties": set(), "signals": set(), "methods": set(), "enumerators": {}}
    while not re.match("Q[A-Z]", name):
        repository, revision = (ctk, pin[1]) if name.startswith("ctk") else (slicer, release)  # type: ignore[index]
        name, names = own_names(show(repository, revision, headers(repository, revision)[name]), name)
        for kind in collected:
            collected[kind].update(names[kind])
    return {"base": name, **collected}


def common_names(name: str, slicer: Path, ctk: Path) -> Names:
    """What the class has in every supported release."""
    releases = [all_names(name, slicer, ctk, release) for release in RELEASES]
    kinds = ("properties", "signals", "methods")
    common: Names = {kind: sorted(set.intersection(*(names[kind] for names in releases))) for kind in kinds}
    return {"base": releases[-1]["base"], **common, "enumerators": releases[0]["enumerators"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slicer", type=Path, help="a clone of github.com/Slicer/Slicer")
    parser.add_argument("ctk", type=Path, help="a clone of github.com/commontk/CTK")
    arguments = parser.parse_args()
    names = {name: common_names(name, arguments.slicer, arguments.ctk) for name in CLASSES}
    OUTPUT.write_text(json.dumps(names, indent=1) + "\n")


if __name__ == "__main__":
    main()
