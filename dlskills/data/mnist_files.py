"""The files of MNIST: names, shapes, checksums and locations."""

import math
import os
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlskills.data import download
from dlskills.data.idx import DataError, parse_idx
from dlskills.files import expanded

SAMPLE_FOLDER = Path(__file__).with_name("sample")
FOLDER_VARIABLE = "DLSKILLS_DATA_DIR"


class MnistFile(NamedTuple):
    """A file: its original name without ``.gz``, and the expected shape and checksum.

    The checksum is that of the decompressed bytes. Mirrors and users recompress the files, so a
    checksum of the ``.gz`` would refuse valid data.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str

    def parse(self, content: bytes, name: str, remedy: str) -> NDArray[np.uint8]:
        """Check the bytes of the file and return its items; errors call the file `name`."""
        return parse_idx(content, name, shape=self.shape, sha256=self.sha256, remedy=remedy)

    def read(self, path: Path, remedy: str) -> NDArray[np.uint8]:
        """Read and parse the file at `path`."""
        limit = 2 * math.prod(self.shape) + 2**20  # gzip adds a little to what it can't compress
        with path.open("rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise DataError(f"{path} holds more than {limit:,} bytes. {remedy}")
        return self.parse(content, str(path), remedy)


class MnistFiles(NamedTuple):
    """The four files of a set, in the order in which `load_mnist` returns their arrays."""

    train_images: MnistFile
    train_labels: MnistFile
    test_images: MnistFile
    test_labels: MnistFile


TEST_IMAGES = MnistFile(
    "t10k-images-idx3-ubyte",
    (10_000, 28, 28),
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
)
TEST_LABELS = MnistFile(
    "t10k-labels-idx1-ubyte",
    (10_000,),
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
FULL = MnistFiles(
    MnistFile(
        "train-images-idx3-ubyte",
        (60_000, 28, 28),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    MnistFile(
        "train-labels-idx1-ubyte",
        (60_000,),
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    TEST_IMAGES,
    TEST_LABELS,
)
SAMPLE = MnistFiles(
    MnistFile(
        "train-images-idx3-ubyte",
        (10_000, 28, 28),
        "2889698e6bc3614913e76901316712919d1998fc2b44512451bfe65bc1e668b1",
    ),
    MnistFile(
        "train-labels-idx1-ubyte",
        (10_000,),
        "651e38e2ac0632f5113ec18f1df4977117f953197819034009971a6675a0df78",
    ),
    TEST_IMAGES,
    TEST_LABELS,
)


def read_sample() -> list[NDArray[np.uint8]]:
    """Read the four files of the bundled sample."""
    reinstall = "It is part of dlskills: reinstall dlskills"
    return _read_folder(
        SAMPLE_FOLDER, str(SAMPLE_FOLDER), SAMPLE, if_missing=reinstall, if_damaged=reinstall
    )


def read_full(data_dir: str | os.PathLike[str] | None) -> list[NDArray[np.uint8]]:
    """Read the four files of the full data set from `data_dir`, DLSKILLS_DATA_DIR or the cache.

    A folder given by the user is only read. In the cache, missing files are downloaded, and
    damaged ones replaced with a warning.
    """
    if data_dir is not None:
        folder, origin = Path(data_dir), "given as data_dir"
    elif variable := os.environ.get(FOLDER_VARIABLE):
        folder, origin = Path(variable), f"named by {FOLDER_VARIABLE}"
    else:
        return _read_cache(download.cache_folder())
    folder = expanded(folder, f"the folder {origin},")
    return _read_folder(
        folder,
        f"{folder} ({origin})",
        FULL,
        if_missing=download.by_hand(),
        if_damaged=f"Delete it and download it again, for example from {download.MIRRORS[0]}",
    )


def _read_folder(
    folder: Path, described: str, files: MnistFiles, *, if_missing: str, if_damaged: str
) -> list[NDArray[np.uint8]]:
    if not folder.is_dir():
        raise DataError(f"the folder {described} does not exist. {if_missing}")
    present = {file: path for file in files if (path := _find(folder, file))}
    if missing := [f"{file.name}.gz" for file in files if file not in present]:
        raise DataError(f"{', '.join(missing)} missing from the folder {described}. {if_missing}")
    return [file.read(path, if_damaged) for file, path in present.items()]


def _find(folder: Path, file: MnistFile) -> Path | None:
    candidates = (folder / f"{file.name}.gz", folder / file.name)
    return next((path for path in candidates if path.is_file()), None)


def _read_cache(cache: Path) -> list[NDArray[np.uint8]]:
    arrays = []
    for file in FULL:
        path = cache / f"{file.name}.gz"
        try:
            array = file.read(path, "It will be downloaded again")
        except OSError:  # usually because it does not exist yet
            array = None
        except DataError as error:
            warnings.warn(str(error), stacklevel=4)  # the call of load_mnist
            array = None
        arrays.append(download.fetch(path, file.parse) if array is None else array)
    return arrays


def find_full() -> Path | None:
    """Return the folder that contains all files of the full set, or None; files are not read.

    Raises
    ------
    OSError, DataError
        The user has no home folder.
    """
    folder = expanded(os.environ.get(FOLDER_VARIABLE) or download.cache_folder(), FOLDER_VARIABLE)
    return folder if all(_find(folder, file) for file in FULL) else None
