"""What is said when a device has no memory left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from dlskills.arrays.backend import Backend
from dlskills.arrays.cuda import DeviceError


class DeviceMemoryError(DeviceError):
    """A device has too little memory for what was asked; the message says for what."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is exhausted."""
    # CuPy's and PyTorch's have this name; neither library may be there to import it from
    return type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError)


@contextlib.contextmanager
def memory_explained(backend: Backend, what: str, remedy: str) -> Iterator[None]:
    """Turn a library's error of exhausted memory into one that names the work and the way out.

    Parameters
    ----------
    backend : Backend
    what : str
        What is done in the block, such as "step 3, with batches of 100".
    remedy : str
        What to do.

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
            f"{backend} has no memory left for {what}: {reason}; {remedy}"
        ) from error
