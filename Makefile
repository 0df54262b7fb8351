# Every command sets up what it needs in .venv, so each works on a fresh clone.
#
#   make demo                  the panel's loop in pictures, on phantoms, without Slicer; CASES=folder for real images
#   make test                  lint, types and all tests; UNETSEG_DATA=folder of real images
#   make lint                  ruff and mypy only
#   make slicer                3D Slicer with the module from this folder; SLICER=/path/to/Slicer
#   make bench                 the benchmarks there are; NAME=one runs it, with ARGUMENTS="..."
#   make setup                 nothing but the set-up; PYTHON=path to choose the interpreter
#   make clean                 removes everything that these commands made

BIN = .venv/bin
READY = .venv/ready

# What Qt and VTK load from a Linux system when they draw without a screen.
LIBRARIES = libegl1 libgl1 libegl-mesa0 libgl1-mesa-dri libxkbcommon0 libdbus-1-3 libfontconfig1 libglib2.0-0 libx11-6
CAN_DRAW = import sys, ctypes, PySide6.QtWidgets; \
	sys.platform != "linux" or [ctypes.CDLL(name) for name in ("libEGL.so.1", "libGL.so.1", "libX11.so.6")]

.PHONY: demo test lint slicer bench setup clean

demo: $(READY)
	@PYTHONPATH=Testing/benchmarks:Testing/slicer:Testing/slicer/host:UNetSegment \
		$(BIN)/python Testing/demo/run_demo.py $(if $(CASES),--cases "$(CASES)")

# The tests run whatever lint says, so that one run shows everything.
test: $(READY)
	@failed=0; \
	$(MAKE) --no-print-directory lint || failed=1; \
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=8 --durations=10 || failed=1; \
	exit $$failed

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Slicer brings its own Python, so that this needs no .venv.
slicer:
	@slicer=$$(command -v "$(SLICER)"); \
	if [ ! -f "$$slicer" ] || [ ! -x "$$slicer" ]; then \
		echo 'Please name the program of 3D Slicer 5.10 or later (on macOS Slicer.app/Contents/MacOS/Slicer):' \
			'make slicer SLICER=/path/to/Slicer' >&2; \
		exit 1; \
	fi; \
	"$$slicer" --additional-module-paths "$(CURDIR)/UNetSegment" \
		--python-code 'slicer.util.selectModule("UNetSegment")' $(ARGUMENTS)

bench: $(READY)
ifdef NAME
	@$(BIN)/python Testing/benchmarks/$(NAME).py $(ARGUMENTS)
else
	@echo 'Run one with make bench NAME=...'
	@for script in $$(grep -l __main__ Testing/benchmarks/*.py); do \
		printf '  %-24s %s\n' "$$(basename "$$script" .py)" "$$(sed -n '1s/"""//gp' "$$script")"; \
	done
endif

setup: $(READY)

# A candidate counts only if it really runs and can make an environment with pip in it.
$(READY): trainer/pyproject.toml constraints.txt
	@for python in $(or $(PYTHON),python3.11 python3.12 python3.13 python3.10 python3); do \
		"$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
			2> /dev/null && break; \
		python=; \
	done; \
	if [ -z "$$python" ]; then \
		echo 'Please install Python 3.10 to 3.13 with its venv module (Debian, Ubuntu: apt install python3 python3-venv),' \
			'or name one: make PYTHON=/path/to/python3' >&2; \
		exit 1; \
	fi; \
	echo "Setting up .venv with $$("$$python" --version); the first time takes some minutes" && \
	"$$python" -m venv --clear .venv && \
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e 'trainer[dev]'
	@$(BIN)/python -c '$(CAN_DRAW)' 2> /dev/null || \
	{ [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && echo 'Installing system libraries for drawing' && \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $(LIBRARIES) \
		> /dev/null; } || \
	echo 'System libraries for drawing are missing, so that tests and pictures of the Slicer module are left out.' \
		'Debian, Ubuntu: apt install $(LIBRARIES)' >&2
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache demo trainer/*.egg-info
