"""Out-of-memory errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from dlskills.arrays.backend import Backend
from dlskills.arrays.cuda import DeviceError


class DeviceMemoryError(DeviceError):
    """A device is out of memory; the message says for what."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory is exhausted."""
    # CuPy's and PyTorch's have this name; either library may be missing, so it is not imported
    return type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError)


@contextlib.contextmanager
def memory_explained(backend: Backend, what: str, remedy: str) -> Iterator[None]:
    """Turn a library's out-of-memory error into one that names the work and the remedy.

    Parameters
    ----------
    backend : Backend
    what : str
        What the block does, such as "step 3, with batches of 100".
    remedy : str
        A sentence.

    Raises
    ------
    DeviceMemoryError
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split()).rstrip(".")
        raise DeviceMemoryError(
            f"{backend} is out of memory for {what}: {reason}. {remedy}"
        ) from error
