"""Create the bundled sample from the four original files of MNIST.

    python -m dlskills.data.make_sample SOURCE_FOLDER [TARGET_FOLDER]

The result is reproducible byte for byte, since the files contain neither a time stamp nor a name.
"""

import argparse
import gzip
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlskills.data.mnist_files import SAMPLE, SAMPLE_FOLDER, read_full
from dlskills.files import write_file

LEVEL = 7  # gzip compression; level 9 takes nine times as long to save another 0.6 %


def make_sample(source: Path, target: Path = SAMPLE_FOLDER) -> list[Path]:
    """Extract the sample from the full data set: the first 10,000 training and all test images.

    Parameters
    ----------
    source : pathlib.Path
        Folder with the four original files; their checksums are verified.
    target : pathlib.Path, default the ``sample`` folder of this package
        Folder to write to; created if necessary.

    Returns
    -------
    list of pathlib.Path
        The four written files.

    Raises
    ------
    DataError
        A source file is missing or not the original, or an extracted file does not have the
        checksum that `load_mnist` expects.
    """
    written = []
    for file, items in zip(SAMPLE, read_full(source), strict=True):
        content = idx_bytes(items[: file.shape[0]])
        file.parse(content, f"the extracted {file.name}", "Correct SAMPLE in mnist_files.py")
        path = target / f"{file.name}.gz"
        raw = io.BytesIO()
        with gzip.GzipFile("", "wb", LEVEL, raw, mtime=0) as packed:
            packed.write(content)
        write_file(path, raw.getvalue())
        written.append(path)
    return written


def idx_bytes(items: NDArray[np.uint8]) -> bytes:
    """Return an array of unsigned bytes in the IDX format (see `dlskills.data.idx`)."""
    magic = bytes((0, 0, 8, items.ndim))
    return magic + np.array(items.shape, ">u4").tobytes() + items.tobytes()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Create the bundled sample of MNIST.")
    parser.add_argument("source", type=Path, help="folder with the four original files")
    parser.add_argument("target", type=Path, nargs="?", default=SAMPLE_FOLDER)
    arguments = parser.parse_args()
    make_sample(arguments.source, arguments.target)


if __name__ == "__main__":
    main()
