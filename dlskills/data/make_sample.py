"""Make the bundled sample from the four original files.

    python -m dlskills.data.make_sample SOURCE_FOLDER [TARGET_FOLDER]

The result depends on the source alone: no file carries a time or a name, so making it again
gives the same bytes.
"""

import argparse
import gzip
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlskills.data.mnist_files import SAMPLE, SAMPLE_FOLDER, read_full
from dlskills.files import write_file

LEVEL = 7  # Of gzip. Level 9 takes nine times as long to save another 0.6 %.


def make_sample(source: Path, target: Path = SAMPLE_FOLDER) -> list[Path]:
    """Cut the sample out of the full set: the first 10,000 training and all test images.

    Parameters
    ----------
    source : pathlib.Path
        The folder with the four original files; their checksums are verified.
    target : pathlib.Path, default the ``sample`` folder of this package
        The folder to write to; it is made if need be.

    Returns
    -------
    list of pathlib.Path
        The four files written.

    Raises
    ------
    DataError
        If a source file is missing or is not the original, or if what was cut out does not have
        the checksum that `load_mnist` will ask for.
    """
    written = []
    for file, items in zip(SAMPLE, read_full(source), strict=True):
        content = idx_bytes(items[: file.shape[0]])
        file.parse(content, f"The cut-out {file.name}", "Correct SAMPLE in mnist_files.py.")
        path = target / f"{file.name}.gz"
        raw = io.BytesIO()
        with gzip.GzipFile("", "wb", LEVEL, raw, mtime=0) as packed:
            packed.write(content)
        write_file(path, raw.getvalue())
        written.append(path)
    return written


def idx_bytes(items: NDArray[np.uint8]) -> bytes:
    """Give unsigned bytes the header that `dlskills.data.idx` describes."""
    magic = bytes((0, 0, 8, items.ndim))
    return magic + np.array(items.shape, ">u4").tobytes() + items.tobytes()


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(description="Make the bundled sample of MNIST.")
    parser.add_argument("source", type=Path, help="the folder with the four original files")
    parser.add_argument("target", type=Path, nargs="?", default=SAMPLE_FOLDER)
    arguments = parser.parse_args()
    make_sample(arguments.source, arguments.target)


if __name__ == "__main__":
    main()
