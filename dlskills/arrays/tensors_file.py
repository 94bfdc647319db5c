"""Arrays and plain data in one safetensors file, with a checksum.

The layout is that of safetensors: eight bytes with the length of the header (little-endian), the
header in JSON, the arrays one after the other. Any reader of safetensors opens these files. Two
entries of the header's ``__metadata__`` are ours: ``dlskills`` is the plain data, as JSON, and
``checksum`` the CRC-32 of the whole file, computed with zeros for its own digits. It finds damage;
it is no protection against a forged file. Nothing in a file is ever executed.
"""

from __future__ import annotations

import errno
import json
import math
import os
import sys
import zlib
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from dlskills.arrays.backend import Array, backend_of, to_host
from dlskills.files import FileFormatError, expanded, write_file_by
from dlskills.strict_json import parse_json, shortened

HEADER_LIMIT = 16 * 1024**2
"""Bytes of the longest header that is written or read: parsed, it takes some 30 x as much memory.

Long lists of numbers belong into arrays.
"""

_DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4",
    "U64": "<u8", "I64": "<i8", "F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip
_CODES = {np.dtype(kind): code for code, kind in _DTYPES.items() if code != "BF16"}
_ALIGNMENT = 64
_NO_CHECKSUM = "crc32 00000000"
_PIECE = 1024**2  # bytes that stay in the cache between the checksum and the file
_MAX_DIMENSIONS = 64  # NumPy's limit


class _Entry(NamedTuple):
    name: str
    code: str
    shape: tuple[int, ...]
    begin: int
    end: int


def write_tensors(
    path: str | os.PathLike[str], arrays: Mapping[str, Array], metadata: Mapping[str, Any]
) -> None:
    """Write arrays and plain data to a file, whole or not at all.

    The content goes to a new file in the same folder, which is synced to disk and then renamed.
    Arrays on a device are copied to the host one at a time.

    Parameters
    ----------
    path : str or path-like
        ``.safetensors`` by custom. The folder is made if it is missing.
    arrays : mapping of str to array
        Of any library and device, bool, integer or real floating-point, of any memory layout.
    metadata : mapping of str to object
        What JSON can hold: None, bool, int, finite float, str, list and dict with keys of str.
        Tuples come back as lists.

    Raises
    ------
    TypeError
        An array or a value of `metadata` is of a type that a file can't hold; the message says
        which.
    ValueError
        A float in `metadata` is not finite, or the header is longer than 16 MiB.
    OSError
        The file can't be written; the message names it, and an earlier file is unchanged.
    """
    target = expanded(path)
    check_plain("metadata", metadata)
    ordered = sorted(  # the largest elements first keeps every array aligned
        ((name, array, _code_of(name, array)) for name, array in arrays.items()),
        key=lambda item: -_itemsize(item[2]),
    )
    header = _header(ordered, metadata)

    def write(file: BinaryIO) -> None:
        data_bytes = sum(math.prod(a.shape) * _itemsize(code) for _, a, code in ordered)
        _allocate(file, len(header) + data_bytes)
        file.write(header)
        with ThreadPoolExecutor(1) as pool:  # the checksum takes about as long as the writing
            checksum = pool.submit(zlib.crc32, header)
            for _, array, code in ordered:
                data = _bytes_of(array, code)
                before, checksum = checksum, pool.submit(_continued, checksum, data)
                file.write(data.data)
                before.result()  # so that at most two arrays of a device are on the host
            if not checksum.done():  # on a busy machine: meanwhile, the disk works
                file.flush()
                os.fsync(file.fileno())
        file.seek(header.index(_NO_CHECKSUM.encode()))
        file.write(f"crc32 {checksum.result():08x}".encode())

    write_file_by(target, write)


def read_tensors(
    path: str | os.PathLike[str],
) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    """Read a file that :func:`write_tensors` wrote.

    Every size that the file declares is compared with that of the file before memory is
    allocated: reading takes as much memory as the arrays, and twice that for bfloat16.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    arrays : dict of str to numpy.ndarray
        In the dtypes of the file; float32 for bfloat16, which NumPy lacks and which it holds
        exactly. Each owns its memory.
    metadata : dict

    Raises
    ------
    FileFormatError
        The file is damaged, cut short, or not of this format; the message names it.
    OSError
        The file can't be read.
    """
    source = expanded(path)
    if source.exists() and not source.is_file():  # opening a pipe would wait for its other end
        raise FileFormatError(f"{path} is not a regular file")
    with source.open("rb", buffering=0) as file:
        return read_stream(file, os.fstat(file.fileno()).st_size, str(path))


def read_stream(
    file: BinaryIO, size: int, name: str
) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    """Read as :func:`read_tensors` does, from an open file of `size` bytes that errors call `name`.

    Raises
    ------
    FileFormatError
    """
    if size < 8:
        raise FileFormatError(f"{name} holds {size} bytes; expected a safetensors file")
    length_bytes = _exactly(file, bytearray(8), name)
    length = int.from_bytes(length_bytes, "little")
    if length > min(size - 8, HEADER_LIMIT):
        raise FileFormatError(
            f"{name} is not a safetensors file, or it is cut short: it declares a header of "
            f"{length:,} bytes and holds {size:,}; headers may have {HEADER_LIMIT:,}"
        )
    header = bytes(_exactly(file, bytearray(length), name))
    entries, metadata, stated = _parsed(header, size - 8 - length, name)
    blank = header.replace(f'"{stated}"'.encode(), f'"{_NO_CHECKSUM}"'.encode(), 1)
    checksum = zlib.crc32(blank, zlib.crc32(length_bytes))
    arrays = {}
    for entry in entries:
        values = np.empty(entry.shape, np.dtype(_DTYPES[entry.code]))
        if values.size:
            data = values.reshape(-1).view(np.uint8)
            for start in range(0, len(data), _PIECE):
                piece = _exactly(file, data[start : start + _PIECE].data, name)
                checksum = zlib.crc32(piece, checksum)
        arrays[entry.name] = _widened(values) if entry.code == "BF16" else _native(values)
    if stated != (found := f"crc32 {checksum:08x}"):
        raise FileFormatError(f"{name} is damaged: its checksum is {found}, expected {stated}")
    return arrays, metadata


def _itemsize(code: str) -> int:
    return np.dtype(_DTYPES[code]).itemsize


def _allocate(file: BinaryIO, size: int) -> None:
    """Reserve the file's space: writing takes less time then, and a full disk shows at once."""
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except AttributeError:  # not on every system
        pass
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise


def _continued(before: Future[int], data: np.ndarray[Any, Any]) -> int:
    """Return the checksum after further data; `before` is done, as one thread computes both."""
    return zlib.crc32(data.data, before.result())


def split_state(state: Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays of a state, and all else, for :func:`write_tensors`; ``arrays | plain`` undoes it.

    Parameters
    ----------
    state : mapping of str to object
        From the `state_dict` of a network or an optimizer.
    """
    arrays = {name: value for name, value in state.items() if hasattr(value, "shape")}
    return arrays, {name: value for name, value in state.items() if name not in arrays}


def check_plain(what: str, value: Any) -> None:
    """Refuse what JSON can't hold, or would give back as something else than was written.

    Raises
    ------
    TypeError, ValueError
        The message says where it is.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{what} has a key that is no string, {key!r}; give it a name")
            check_plain(f"{what}[{key!r}]", item)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            if not isinstance(item, float) or not math.isfinite(item):  # quick for long lists
                check_plain(f"{what}[{i}]", item)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(
                f"{what} is {value}, which JSON lacks; write it as an array, or as None"
            )
    elif value is not None and not isinstance(value, bool | int | str):
        raise TypeError(
            f"{what} is a {type(value).__name__}, which JSON can't hold: {value!r}; write numbers, "
            "strings, lists and dicts, and arrays among the arrays"
        )


def _header(ordered: list[tuple[str, Array, str]], metadata: Mapping[str, Any]) -> bytes:
    plain = json.dumps(metadata, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    header: dict[str, Any] = {"__metadata__": {"checksum": _NO_CHECKSUM, "dlskills": plain}}
    offset = 0
    for name, array, code in ordered:
        if not isinstance(name, str) or name == "__metadata__":
            raise TypeError(
                f"arrays must be named by strings other than '__metadata__', got {name!r}"
            )
        shape = [int(length) for length in array.shape]
        end = offset + math.prod(shape) * _itemsize(code)
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    if len(text) > HEADER_LIMIT:
        raise ValueError(
            f"the names and metadata take {len(text):,} bytes; a file may have {HEADER_LIMIT:,}. "
            "Write long lists of numbers as arrays"
        )
    return len(text).to_bytes(8, "little") + text


def _code_of(name: str, array: Array) -> str:
    """The format's word for an array's dtype."""
    if not hasattr(array, "shape"):
        raise TypeError(f"{name!r} must be an array, got a {type(array).__name__}")
    if str(array.dtype).rpartition(".")[2] == "bfloat16":  # PyTorch's, and ml_dtypes' for NumPy
        return "BF16"
    try:
        # "torch.float32" and "array_api_strict.float32" are NumPy's float32
        kind = np.dtype(str(array.dtype).rpartition(".")[2])
        return _CODES[kind.newbyteorder("<")]
    except (KeyError, TypeError):
        raise TypeError(
            f"{name!r} has dtype {array.dtype}; a file holds bool, integers and real "
            "floating-point numbers"
        ) from None


def _bytes_of(array: Array, code: str) -> np.ndarray[Any, Any]:
    """The array as it is in a file: in C order, little-endian."""
    if code == "BF16":
        if not isinstance(array, np.ndarray | np.generic) and backend_of(array).name == "torch":
            array = array.detach().contiguous().view(backend_of(array).xp.int16)
        else:
            array = np.ascontiguousarray(to_host(array)).view(np.uint16)
    values = np.ascontiguousarray(to_host(array), dtype=np.dtype(_DTYPES[code]))
    return values.reshape(-1).view(np.uint8)


def _widened(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return bfloat16 as float32, whose upper half it is."""
    return (values.astype(np.uint32) << 16).view(np.float32)


def _native(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if sys.byteorder == "little":
        return values
    return values.astype(values.dtype.newbyteorder("="))


def _exactly(file: BinaryIO, buffer: Any, name: str) -> Any:
    """Fill a buffer from the file."""
    view = memoryview(buffer)
    while len(view):
        count = file.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise FileFormatError(f"{name} is cut short: {len(view):,} bytes are missing")
        view = view[count:]
    return buffer


def _parsed(header: bytes, size: int, name: str) -> tuple[list[_Entry], dict[str, Any], str]:
    """The arrays in the order of the file, the plain data, and the checksum of a header."""
    content = parse_json(header, f"the header of {name}")
    if not isinstance(content, dict):
        raise FileFormatError(f"the header of {name} must be an object, got {shortened(content)}")
    ours = content.pop("__metadata__", None)
    if not isinstance(ours, dict) or not all(
        isinstance(ours.get(key), str) for key in ("dlskills", "checksum")
    ):
        raise FileFormatError(
            f"{name} was not written by dlskills: its header has no plain data or no checksum. "
            "Read it with safetensors, and copy the arrays into the network"
        )
    stated = ours["checksum"]
    if header.count(f'"{stated}"'.encode()) != 1:
        raise FileFormatError(f"{name} has no checksum of its own, got {shortened(stated)}")
    metadata = parse_json(ours["dlskills"], f"the metadata of {name}")
    if not isinstance(metadata, dict):
        raise FileFormatError(
            f"the metadata of {name} must be an object, got {shortened(metadata)}"
        )
    entries = [_entry(key, described, name) for key, described in content.items()]
    entries.sort(key=lambda entry: (entry.begin, entry.end))
    end = 0
    for entry in entries:
        if entry.begin != end:
            raise FileFormatError(
                f"{name}: {shortened(entry.name)} begins at byte {entry.begin} of the data, "
                f"expected {end}"
            )
        end = entry.end
    if end != size:
        raise FileFormatError(
            f"{name} is cut short or has bytes too many: it declares {end:,} bytes of data and "
            f"holds {size:,}"
        )
    return entries, metadata, stated


def _entry(key: str, described: Any, name: str) -> _Entry:
    def refusal(finding: str) -> FileFormatError:
        return FileFormatError(f"{name}: {shortened(key)} {finding}")

    if not isinstance(described, dict) or set(described) != {"dtype", "shape", "data_offsets"}:
        raise refusal(f"must have a dtype, a shape and offsets, got {shortened(described)}")
    code, shape, offsets = (described[word] for word in ("dtype", "shape", "data_offsets"))
    if not isinstance(code, str) or code not in _DTYPES:
        raise refusal(f"has dtype {shortened(code)}; dlskills reads {', '.join(_DTYPES)}")
    if not _are_counts(shape) or len(shape) > _MAX_DIMENSIONS:
        raise refusal(f"has shape {shortened(shape)}")
    if not _are_counts(offsets) or len(offsets) != 2:
        raise refusal(f"has offsets {shortened(offsets)}")
    begin, end = offsets
    # without the zeros, too: NumPy refuses (0, 2**62), whose strides overflow
    if math.prod(length for length in shape if length) >= 2**48:
        raise refusal(f"has shape {shortened(shape)}, more than memory can hold")
    if end - begin != math.prod(shape) * _itemsize(code):
        raise refusal(f"has shape {shortened(shape)} in {code}, and {end - begin} bytes of data")
    return _Entry(key, code, tuple(shape), begin, end)


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < 2**63 for value in values
    )
