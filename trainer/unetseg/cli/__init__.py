"""The command line ``unetseg``."""

from .commands import main

__all__ = ["main"]
