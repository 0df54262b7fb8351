"""The program ``unetseg``, also as ``python -m unetseg``."""

from __future__ import annotations

import sys

from . import cli
from .worker import run_worker


def main() -> int:
    """Run one command; ``worker`` serves until it is told to end."""
    return cli.main(serve=run_worker)


if __name__ == "__main__":
    sys.exit(main())
