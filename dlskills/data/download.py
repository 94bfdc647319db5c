"""Download of MNIST from public mirrors into a cache folder, verified and atomic."""

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from dlskills import terminal
from dlskills.data.idx import DataError
from dlskills.files import write_file

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
ROUNDS = 2  # attempts per mirror
PAUSE = 1.0  # seconds between two rounds of attempts
LIMIT = 64 * 2**20  # bytes of a download; the largest file has 10 million
TIMEOUT = (10.0, 30.0)  # seconds to connect, and to wait for the next byte


def cache_folder() -> Path:
    """Return the user's cache folder for the full data set; it may not exist yet.

    Raises
    ------
    DataError
        The user has no home folder.
    """
    import pooch

    try:
        folder = Path(pooch.os_cache("dlskills"))
    except RuntimeError:  # platformdirs; earlier releases return "~/.cache/dlskills"
        folder = Path("~")
    if str(folder).startswith("~"):
        raise DataError(
            "no home folder was found to store MNIST in. Set HOME, or set XDG_CACHE_HOME to a "
            f"writable folder. {by_hand()}"
        )
    return folder / "mnist"


def by_hand() -> str:
    """Return instructions for downloading the full data set manually, or using the sample."""
    return (
        "To download the full data set manually, get train-images-idx3-ubyte.gz, "
        "train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz from "
        f"{' or '.join(MIRRORS)}, put them into one folder, and pass it as "
        "load_mnist(data_dir=...) or in the environment variable DLSKILLS_DATA_DIR. Without a "
        'network connection, use the bundled sample: load_mnist(subset="sample")'
    )


def fetch(path: Path, parse: Callable[[bytes, str, str], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Download the file called `path.name`, store it at `path` and return its items.

    All mirrors are tried in turn, then once more. Nothing is written until `parse` has accepted
    the content, so neither a broken connection nor wrong content leaves a file behind. If the file
    can't be stored, its content is used anyway.

    Parameters
    ----------
    path : pathlib.Path
        Where to store the file; its folder is created if necessary.
    parse : callable
        Takes the bytes, the name of the file and a remedy, like `parse_idx`; checks the bytes and
        returns the items.

    Returns
    -------
    numpy.ndarray
        The result of `parse`.

    Raises
    ------
    DataError
        All mirrors failed; the message lists each failure and explains the manual download.

    Warns
    -----
    UserWarning
        The file can't be written and will be downloaded again next time.
    """
    failures: dict[str, None] = {}  # an ordered set, as both rounds often fail alike
    for attempt in range(ROUNDS):
        if attempt:
            time.sleep(PAUSE)
        for mirror in MIRRORS:
            url = mirror + path.name
            try:
                content = _get(url)
                items = parse(content, path.name, "It was discarded")
            except (OSError, DataError) as error:  # OSError: any network error
                failures[f"{url}: {str(error)[:160]}"] = None
                continue
            _keep(content, path)
            return items
    raise DataError(
        "\n".join((f"{path.name} can't be downloaded. {by_hand()}", "Tried:", *failures))
    ) from None


def _get(url: str) -> bytes:
    import pooch

    buffer = _LimitedBuffer()
    with _progress_bar(f"MNIST: {url.rpartition('/')[2]}") as bar:
        get = pooch.HTTPDownloader(progressbar=bar, chunk_size=2**16, timeout=TIMEOUT)
        get(url, buffer, None)
    return buffer.getvalue()


def _keep(content: bytes, path: Path) -> None:
    """Store a downloaded file, or warn that it will be downloaded again."""
    try:
        write_file(path, content)
    except OSError as error:
        warnings.warn(
            f"{path} was downloaded but can't be written ({error}); it is used now and will "
            "be downloaded again next time. Free disk space, or make its folder writable. "
            f"{by_hand()}",
            stacklevel=6,  # the call of load_mnist
        )


class _LimitedBuffer(BytesIO):
    """A buffer for a file of MNIST: a mirror that sends anything else must not fill the memory."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > LIMIT:
            raise OSError(f"the mirror sent more than {LIMIT:,} bytes")
        return super().write(data)


class _PoochBar:
    """A rich progress bar with the interface that pooch expects."""

    def __init__(self, progress: "Progress", task: "TaskID") -> None:
        self.progress = progress
        self.task = task
        self.total = 0  # set by pooch: the number of bytes, or 0 if unknown

    def update(self, n: int) -> None:
        """Advance by `n` bytes."""
        self.progress.update(self.task, advance=n, total=self.total or None)

    def reset(self) -> None:
        """Restart from 0; pooch does this to finish on the exact number of bytes."""
        self.progress.reset(self.task)

    def close(self) -> None:
        """Do nothing: the context manager closes the bar, even if the connection breaks."""


@contextlib.contextmanager
def _progress_bar(title: str) -> Iterator[_PoochBar | Literal[False]]:
    """Yield a progress bar on a terminal, otherwise False, which means none to pooch."""
    if not terminal.error_output().isatty():
        yield False
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=terminal.console(stderr=True)) as progress:
        yield _PoochBar(progress, progress.add_task(title, total=None))
