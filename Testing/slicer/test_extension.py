"""The extension's CMake files list the tree, both ways, and agree with the entry for the Extensions Index."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TOP = "CMakeLists.txt"
INDEX_ENTRY = REPOSITORY / "Resources" / "ExtensionsIndex" / "UNetSegment.json"
RAW_URL = "https://raw.githubusercontent.com/UNetSegment/SlicerUNetSegment/main/"
HOMEPAGE = "https://github.com/UNetSegment/SlicerUNetSegment"


def commands(path):
    """(name, arguments) of every command of a CMake file; quotes are gone, comments too."""
    text = re.sub(r"#[^\n]*", "", (REPOSITORY / path).read_text(encoding="utf-8"))
    for name, inside in re.findall(r"(\w+)\s*\(((?:\"[^\"]*\"|[^()\"])*)\)", text):
        yield name, [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|([^\s"]+)', inside)]


def variables(path):
    """What the ``set`` commands of a file set, with references to earlier ones replaced."""
    found = {}
    for name, arguments in commands(path):
        if name == "set":
            found[arguments[0]] = [
                re.sub(r"\$\{(\w+)\}", lambda match: " ".join(found[match[1]]), argument) for argument in arguments[1:]
            ]
    return found


def treeOf(folder, pattern):
    """Names of the files below a folder, relative to it, as a checkout would have them."""
    paths = (path.relative_to(folder) for path in folder.rglob(pattern) if path.is_file())
    return sorted(path.as_posix() for path in paths if not {"__pycache__", ".mypy_cache"} & set(path.parts))


LISTS = [
    ("UNetSegment", "MODULE_PYTHON_SCRIPTS", "", "*.py"),
    ("UNetSegment", "MODULE_PYTHON_RESOURCES", "Resources", "*"),
    ("trainer", "PACKAGE_PYTHON_SCRIPTS", "", "*.py"),
    ("trainer", "PACKAGE_PYTHON_SCRIPTS", "unetseg", "*"),
]


@pytest.mark.parametrize(("folder", "variable", "below", "pattern"), LISTS)
def test_every_file_is_listed_and_every_listed_file_exists(folder, variable, below, pattern):
    listed = variables(f"{folder}/{TOP}")[variable]
    assert len(set(listed)) == len(listed)
    below = REPOSITORY / folder / below
    prefix = "" if below == REPOSITORY / folder else f"{below.name}/"
    assert sorted(listed) == sorted(prefix + name for name in treeOf(below, pattern))


def test_a_file_that_is_not_listed_is_found(tmp_path):
    (tmp_path / "a.py").touch()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.cpython-312.pyc").touch()
    assert treeOf(tmp_path, "*") == ["a.py"]


def test_slicer_tries_no_helper_as_a_module():
    """Slicer loads every Python file that lies directly in the modules' folder."""
    scripts = (
        variables(f"UNetSegment/{TOP}")["MODULE_PYTHON_SCRIPTS"] + variables(f"trainer/{TOP}")["PACKAGE_PYTHON_SCRIPTS"]
    )
    assert [script for script in scripts if "/" not in script] == ["UNetSegment.py"]


def test_the_resources_that_the_code_names_are_there():
    module = REPOSITORY / "UNetSegment"
    listed = set(variables(f"UNetSegment/{TOP}")["MODULE_PYTHON_RESOURCES"])
    named = set()
    for path in module.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named |= set(re.findall(r"^(?:Resources/)?((?:UI|Icons)/[\w/]+\.\w+|requirements\.txt)$", node.value))
    assert {f"Resources/{name}" for name in named} <= listed
    assert "Resources/Icons/UNetSegment.svg" in listed


def test_the_description_fits_the_catalogue():
    meta = {name: " ".join(value) for name, value in variables(TOP).items()}
    assert meta["EXTENSION_HOMEPAGE"] == HOMEPAGE
    assert meta["EXTENSION_DEPENDS"] == "PyTorch"
    assert 1 <= meta["EXTENSION_DESCRIPTION"].count(". ") + 1 <= 2
    assert len(meta["EXTENSION_DESCRIPTION"]) < 250
    urls = [meta["EXTENSION_ICONURL"], *meta["EXTENSION_SCREENSHOTURLS"].split()]
    assert len(urls) >= 2
    for url in urls:
        assert url.startswith(RAW_URL)
        assert (REPOSITORY / url.removeprefix(RAW_URL)).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_icon_of_the_catalogue_has_the_usual_size():
    header = (REPOSITORY / "Resources" / "Icons" / "UNetSegment.png").read_bytes()[:24]
    assert [int.from_bytes(header[at : at + 4], "big") for at in (16, 20)] == [128, 128]


def test_the_index_entry_agrees_with_the_top_file():
    entry = json.loads(INDEX_ENTRY.read_text(encoding="utf-8"))
    assert set(entry) == {
        *("$schema", "build_dependencies", "build_subdirectory"),
        *("category", "scm_revision", "scm_url", "tier"),
    }
    assert entry["build_dependencies"] == variables(TOP)["EXTENSION_DEPENDS"]
    assert entry["scm_url"] == f"{HOMEPAGE}.git"
    assert entry["category"] == "Segmentation"
    assert b"\r" not in INDEX_ENTRY.read_bytes()
    assert ("project", [INDEX_ENTRY.stem]) in list(commands(TOP))


def test_the_licence_lies_where_the_index_looks_for_it():
    assert "Apache License" in (REPOSITORY / "LICENSE").read_text(encoding="utf-8")


STUB_OF_SLICER = """
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/empty.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/empty.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/empty.cmake)
set(BUILD_TESTING ON)
macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MODULE "WITH_GENERIC_TESTS" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MODULE_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "unknown: ${MODULE_UNPARSED_ARGUMENTS}")
  endif()
  foreach(file ${MODULE_SCRIPTS} ${MODULE_RESOURCES})
    if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${file})
      message(FATAL_ERROR "missing: ${file}")
    endif()
    configure_file(${CMAKE_CURRENT_SOURCE_DIR}/${file} ${CMAKE_BINARY_DIR}/modules/${file} COPYONLY)
  endforeach()
endmacro()
macro(slicer_add_python_unittest)
  cmake_parse_arguments(TEST "" "SCRIPT" "" ${ARGN})
  if(NOT EXISTS ${TEST_SCRIPT})
    message(FATAL_ERROR "missing: ${TEST_SCRIPT}")
  endif()
  file(APPEND ${CMAKE_BINARY_DIR}/tests.txt "${TEST_SCRIPT}\\n")
endmacro()
"""


@pytest.fixture(scope="module")
def builtExtension(tmp_path_factory):
    """The folder that CMake builds with a stand-in for Slicer that puts the files where Slicer's own macros do."""
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    stub, build = tmp_path_factory.mktemp("slicer"), tmp_path_factory.mktemp("build")
    (stub / "SlicerConfig.cmake").write_text(STUB_OF_SLICER)
    (stub / "empty.cmake").touch()
    # Nothing is compiled, so that any program will do as the compilers that CMake asks for.
    compilers = [f"-DCMAKE_{c}_COMPILER{value}" for c in ("C", "CXX") for value in (f"={sys.executable}", "_FORCED=1")]
    command = ["cmake", "-S", str(REPOSITORY), "-B", str(build), f"-DSlicer_DIR={stub}", *compilers]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return build


def test_cmake_installs_the_trainer_beside_the_module(builtExtension, tmp_path):
    modules = builtExtension / "modules"
    assert sorted(path.name for path in modules.iterdir()) == [
        "Resources",
        "UNetSegment.py",
        "UNetSegmentLib",
        "unetseg",
    ]
    code = "import unetseg.messages, unetseg.phantom; print(unetseg.messages.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(modules), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == modules / "unetseg" / "messages.py"


def test_cmake_registers_the_self_test(builtExtension):
    registered = (builtExtension / "tests.txt").read_text().split()
    assert registered == [str(REPOSITORY / "UNetSegment" / "UNetSegment.py")]
