"""The process that computes for another program, and its way from a message to a job."""

from .process import run_worker

__all__ = ["run_worker"]
