"""Downloading MNIST from public mirrors into a cache folder: a whole, checked file or none."""

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
ROUNDS = 2  # How often each mirror is tried...
PAUSE = 1.0  # ...and how many seconds pass before they are tried again.
LIMIT = 64 * 2**20  # Bytes of a download; the largest file has 10 million.
TIMEOUT = (10.0, 30.0)  # Seconds to connect; seconds without a byte.


def cache_folder() -> Path:
    """Return this user's folder for the full set, which may not exist yet.

    Raises
    ------
    DataError
        This user has no home folder.
    """
    import pooch

    try:
        folder = Path(pooch.os_cache("dlskills"))
    except RuntimeError:  # of platformdirs; earlier releases return "~/.cache/dlskills"
        folder = Path("~")
    if str(folder).startswith("~"):
        raise DataError(
            "There is no home folder to keep MNIST in: set HOME, or XDG_CACHE_HOME to a folder "
            f"that can be written to. {by_hand()}"
        )
    return folder / "mnist"


def by_hand() -> str:
    """Say how to get the full set without our help, and how to do without it."""
    return (
        "To get the full set by hand, download train-images-idx3-ubyte.gz, "
        "train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz from "
        f"{' or '.join(MIRRORS)} into one folder, and name it with load_mnist(data_dir=...) or the "
        "environment variable DLSKILLS_DATA_DIR. Without a network, "
        'load_mnist(subset="sample") works: it is bundled.'
    )


def fetch(path: Path, parse: Callable[[bytes, str, str], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Download the file called `path.name` and keep it at `path`.

    The mirrors are tried in turn, and then once more. Nothing is written before `parse` has
    accepted all the bytes, so neither a broken connection nor wrong contents leave a trace. If the
    file can't be kept, it is used all the same.

    Parameters
    ----------
    path : pathlib.Path
        Where to keep the file; its folder is made if need be.
    parse : callable
        Takes the bytes, the file's name and a remedy, as `parse_idx` does; checks the bytes and
        gives the items.

    Returns
    -------
    numpy.ndarray
        What `parse` made of the file.

    Raises
    ------
    DataError
        If no mirror gave the file, with what each of them gave, and how to get it by hand.

    Warns
    -----
    UserWarning
        If the file can't be written and so will be downloaded again next time.
    """
    failures: dict[str, None] = {}  # An ordered set: the second round often fails as the first.
    for attempt in range(ROUNDS):
        if attempt:
            time.sleep(PAUSE)
        for mirror in MIRRORS:
            url = mirror + path.name
            try:
                content = _get(url)
                items = parse(content, path.name, "It was not kept.")
            except (OSError, DataError) as error:  # OSError: all that ails a connection.
                failures[f"{url}: {str(error)[:160]}"] = None
                continue
            _keep(content, path)
            return items
    raise DataError(
        "\n".join((f"{path.name} could not be downloaded. {by_hand()}", "Tried:", *failures))
    ) from None


def _get(url: str) -> bytes:
    import pooch

    buffer = _LimitedBuffer()
    with _progress_bar(f"MNIST: {url.rpartition('/')[2]}") as bar:
        get = pooch.HTTPDownloader(progressbar=bar, chunk_size=2**16, timeout=TIMEOUT)
        get(url, buffer, None)
    return buffer.getvalue()


def _keep(content: bytes, path: Path) -> None:
    """Write a downloaded file, or warn that it will be downloaded again."""
    try:
        write_file(path, content)
    except OSError as error:
        warnings.warn(
            f"{path} was downloaded but cannot be written ({error}): it is used now and downloaded "
            f"again next time. Make room, or make its folder writable. {by_hand()}",
            stacklevel=6,  # at the line that calls load_mnist
        )


class _LimitedBuffer(BytesIO):
    """A buffer for a file of MNIST: a mirror that sends anything else must not fill the memory."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > LIMIT:
            raise OSError(f"the mirror sent more than {LIMIT:,} bytes")
        return super().write(data)


class _PoochBar:
    """What pooch asks of a progress bar, shown by rich."""

    def __init__(self, progress: "Progress", task: "TaskID") -> None:
        self.progress = progress
        self.task = task
        self.total = 0  # pooch sets it, to the number of bytes to come or to 0 if unknown.

    def update(self, n: int) -> None:
        """Count `n` bytes more."""
        self.progress.update(self.task, advance=n, total=self.total or None)

    def reset(self) -> None:
        """Count from 0 again; pooch does, to end on the exact number."""
        self.progress.reset(self.task)

    def close(self) -> None:
        """Do nothing: the bar's own context ends it, also when the connection breaks."""


@contextlib.contextmanager
def _progress_bar(title: str) -> Iterator[_PoochBar | Literal[False]]:
    """Give a bar on a terminal; elsewhere False, which is pooch's word for none."""
    if not terminal.error_output().isatty():
        yield False
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=terminal.console(stderr=True)) as progress:
        yield _PoochBar(progress, progress.add_task(title, total=None))
