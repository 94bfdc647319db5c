"""Reading the IDX format, in which MNIST is published.

An IDX file is a header of big-endian integers followed by the items, row by row:

    offset 0     two zero bytes, a type code (8: unsigned byte), the number of dimensions
    offset 4     the length of each dimension, four bytes each
    then         the items themselves, to the end of the file

Nothing in a file is believed unseen: every way in which a damaged download, a renamed file or
a saved error page differs from what was asked for is refused, with the file's name.
"""

import gzip
import hashlib
import io
import math
import zlib

import numpy as np
from numpy.typing import NDArray

GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTE = 8


class DataError(ValueError):
    """Data is missing, damaged, or not what was asked for; the message says what to do."""


def parse_idx(
    content: bytes,
    name: str,
    *,
    shape: tuple[int, ...],
    sha256: str,
    remedy: str,
) -> NDArray[np.uint8]:
    """Give the items of an IDX file of unsigned bytes, gzipped or plain.

    Parameters
    ----------
    content : bytes
        All of the file. Whether it is gzipped is told from its first bytes, not from its name:
        some browsers unpack a ``.gz`` and keep the name.
    name : str
        What an error calls the file: a path or a URL.
    shape : tuple of int
        The shape that the items must have.
    sha256 : str
        The SHA-256, in hexadecimal, that the file must have once decompressed.
    remedy : str
        What the reader of an error should do: the last sentence of every refusal.

    Returns
    -------
    numpy.ndarray
        The items, uint8, in the file's shape. Read-only: it is a view of the file's bytes.

    Raises
    ------
    DataError
        If the file is cut short or damaged, is no IDX file of unsigned bytes, or does not
        have that shape or that checksum.
    """

    def refusal(finding: str) -> DataError:
        return DataError(f"{name} {finding}. {remedy}")

    ndim = len(shape)
    header = 4 + 4 * ndim
    expected_bytes = header + math.prod(shape)
    if content.startswith(GZIP_MAGIC):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
                # one byte more than expected: a small file may unpack to any size
                content = file.read(expected_bytes + 1)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise refusal(f"is a gzip file cut short or damaged ({error})") from None
        if len(content) > expected_bytes:
            raise refusal(
                f"unpacks to more than the {expected_bytes:,} bytes of items of shape {shape}"
            )

    if len(content) < 4:
        raise refusal(f"holds {len(content)} bytes; an IDX file begins with a magic number of 4")
    magic = bytes((0, 0, UNSIGNED_BYTE, ndim))
    if content[:4] != magic:
        raise refusal(
            f"begins with {content[:4]!r}; expected the magic number {magic!r} "
            f"of an IDX file of unsigned bytes in {ndim} dimensions"
        )

    if len(content) < header:
        raise refusal(f"holds {len(content)} bytes; its header alone takes {header}")
    found = tuple(int(length) for length in np.frombuffer(content, ">u4", ndim, offset=4))
    if found != shape:
        raise refusal(f"holds items of shape {found}; expected {shape}")
    if len(content) != expected_bytes:
        raise refusal(
            f"holds {len(content):,} bytes; expected {expected_bytes:,} for items of shape {found}"
        )

    # Last, because it says only that something is wrong, where the checks above say what.
    if (digest := hashlib.sha256(content).hexdigest()) != sha256:
        raise refusal(f"has other contents: their SHA-256 is {digest}; expected {sha256}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(found)
