"""Any exception, as an error that a user can act on."""

from __future__ import annotations

import errno
import sys

from .errors import DeviceError, FileAccessError, InternalError, MemoryLimitError, UnetsegError

_FILE_REMEDIES = {
    errno.ENOSPC: "Free some space on that disk and try again",
    errno.EACCES: "Choose a folder that you may write to",
    errno.EPERM: "Choose a folder that you may write to",
    errno.EROFS: "Choose a folder that you may write to",
    errno.ENOENT: "Check the path",
}


def explain(error: BaseException) -> UnetsegError:
    """The error itself where it is one of ours; otherwise what it means to the user.

    What nobody foresaw becomes an ``InternalError``; its caller reports the traceback.
    """
    if isinstance(error, UnetsegError):
        return error
    if isinstance(error, ModuleNotFoundError) and error.name in ("torch", "safetensors", "SimpleITK", "numpy"):
        return DeviceError(
            f"The package {error.name} must be installed in the Python that computes",
            received=f"{sys.executable} without it",
            remedy=f"Install it with: pip install {error.name}",
        )
    if isinstance(error, (MemoryError, RuntimeError)) and _is_out_of_memory(error):
        return MemoryLimitError(
            "The work needs more memory than there is",
            received=_first_line(error),
            remedy="Close other programs, choose the CPU, or use smaller images or a smaller network",
        )
    if isinstance(error, OSError):
        return FileAccessError(
            "A file could not be read or written",
            received=": ".join(filter(None, [error.filename and str(error.filename), error.strerror or str(error)])),
            remedy=_FILE_REMEDIES.get(error.errno or 0, ""),
        )
    return InternalError(
        "The program met a fault of its own",
        received=f"{type(error).__name__}: {_first_line(error)}",
        remedy="Please report it together with the log",
    )


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    from .inference import is_out_of_memory

    return is_out_of_memory(error)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:300]
