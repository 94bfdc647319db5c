"""Reader for the IDX format, in which MNIST is published.

An IDX file is a header of big-endian integers followed by the items in row-major order:

    offset 0     two zero bytes, a type code (8: unsigned byte), the number of dimensions
    offset 4     the length of each dimension, four bytes each
    then         the items, up to the end of the file

The reader verifies everything, so that a damaged download, a renamed file or a saved error page is
refused with an error that names the file.
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
    """Data is missing, damaged, or not as expected; the message says what to do."""


def parse_idx(
    content: bytes,
    name: str,
    *,
    shape: tuple[int, ...],
    sha256: str,
    remedy: str,
) -> NDArray[np.uint8]:
    """Return the items of an IDX file of unsigned bytes, gzipped or plain.

    Parameters
    ----------
    content : bytes
        The whole file. Compression is detected from the first bytes, not from the name, as some
        browsers unpack a ``.gz`` file and keep its name.
    name : str
        How error messages call the file: a path or a URL.
    shape : tuple of int
        The expected shape of the items.
    sha256 : str
        The expected SHA-256 of the decompressed file, in hexadecimal.
    remedy : str
        The last sentence of every error message: what to do.

    Returns
    -------
    numpy.ndarray
        uint8, of the given shape. A read-only view of the file's bytes.

    Raises
    ------
    DataError
        The file is truncated or damaged, is not an IDX file of unsigned bytes, or differs in
        shape or checksum.
    """

    def invalid(finding: str) -> DataError:
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
            raise invalid(f"is a truncated or damaged gzip file ({error})") from None
        if len(content) > expected_bytes:
            raise invalid(
                f"unpacks to more than the {expected_bytes:,} bytes of items of shape {shape}"
            )

    if len(content) < 4:
        raise invalid(f"must start with a magic number of 4 bytes, got {len(content)} bytes")
    magic = bytes((0, 0, UNSIGNED_BYTE, ndim))
    if content[:4] != magic:
        raise invalid(
            f"must start with {magic!r}, the magic number of an IDX file of unsigned bytes in "
            f"{ndim} dimensions, got {content[:4]!r}"
        )

    if len(content) < header:
        raise invalid(f"must have a header of {header} bytes, got {len(content)} bytes in all")
    found = tuple(int(length) for length in np.frombuffer(content, ">u4", ndim, offset=4))
    if found != shape:
        raise invalid(f"must contain items of shape {shape}, got {found}")
    if len(content) != expected_bytes:
        raise invalid(
            f"must have {expected_bytes:,} bytes for items of shape {found}, got {len(content):,}"
        )

    # Last, because the checks above explain what is wrong and this one does not.
    if (digest := hashlib.sha256(content).hexdigest()) != sha256:
        raise invalid(f"must have the SHA-256 {sha256}, got {digest}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(found)
