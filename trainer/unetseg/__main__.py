"""The program ``unetseg``, also as ``python -m unetseg``."""

from __future__ import annotations

import sys

from . import cli
from .allocator import keep_freed_memory
from .worker import run_worker


def main() -> int:
    """Run one command; ``worker`` serves until it is told to end."""
    keep_freed_memory()
    return cli.main(serve=run_worker)


if __name__ == "__main__":
    sys.exit(main())
