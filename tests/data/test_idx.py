"""The IDX reader: items of valid files, and an error for each kind of invalid file."""

import gzip
import hashlib
import re
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlskills.data.idx import DataError, parse_idx

SHAPE = (3, 2, 2)
PLAIN = struct.pack(">4B3I", 0, 0, 8, 3, *SHAPE) + bytes(range(12))
PACKED = gzip.compress(PLAIN)


def parse(content, shape=SHAPE, sha256=None):
    digest = hashlib.sha256(PLAIN).hexdigest() if sha256 is None else sha256
    return parse_idx(content, "digits.gz", shape=shape, sha256=digest, remedy="Get it again.")


@pytest.mark.parametrize("content", [PLAIN, PACKED], ids=["plain", "gzipped"])
def test_items_are_returned_in_row_major_order(content):
    items = parse(content)
    assert items.dtype == np.uint8
    np.testing.assert_array_equal(items, np.arange(12).reshape(SHAPE))


def test_items_are_read_only():
    assert not parse(PLAIN).flags.writeable


def test_the_checksum_is_independent_of_compression():
    again = gzip.compress(PLAIN, compresslevel=1, mtime=12345)
    assert again != PACKED
    np.testing.assert_array_equal(parse(again), parse(PACKED))


damaged = bytearray(PACKED)
damaged[-20] ^= 0xFF

INVALID = {
    "truncated gzip": (PACKED[:-9], "truncated or damaged gzip file .*end-of-stream"),
    "nothing after the gzip magic": (PACKED[:2], "truncated or damaged gzip file"),
    "damaged gzip": (bytes(damaged), "truncated or damaged gzip file"),
    "wrong CRC": (PACKED[:-8] + bytes(4) + PACKED[-4:], "truncated or damaged gzip file .*CRC"),
    "empty": (b"", "must start with a magic number of 4 bytes, got 0 bytes"),
    "error page": (
        b"<!DOCTYPE html>" + bytes(9),
        r"must start with .*, the magic number .*, got b'<!DO'",
    ),
    "another item type": (b"\0\0\x0d\3" + PLAIN[4:], r"got b'\\x00\\x00\\r\\x03'"),
    "labels for images": (b"\0\0\x08\1\0\0\0\3abc", r"unsigned bytes in 3 dimensions"),
    "truncated header": (PLAIN[:11], "must have a header of 16 bytes, got 11 bytes"),
    "truncated data": (PLAIN[:-1], r"must have 28 bytes for items of shape \(3, 2, 2\), got 27"),
    "gzipped data too long": (gzip.compress(PLAIN + b"\0"), "unpacks to more than the 28 bytes"),
    "data too long": (PLAIN + b"\0", "must have 28 bytes .*, got 29"),
    "one pixel changed": (
        PLAIN[:-1] + b"\0",
        "must have the SHA-256 [0-9a-f]{64}, got [0-9a-f]{64}",
    ),
}


@pytest.mark.parametrize(("content", "finding"), INVALID.values(), ids=INVALID)
def test_an_invalid_file_gives_an_error_with_name_finding_and_remedy(content, finding):
    with pytest.raises(DataError, match=f"(?s)^digits.gz .*{finding}.*Get it again[.]$"):
        parse(content)


@pytest.mark.parametrize("shape", [(4, 2, 2), (3, 2, 3)], ids=["count", "dimensions"])
def test_another_shape_is_refused(shape):
    finding = re.escape(f"must contain items of shape {shape}, got (3, 2, 2)")
    with pytest.raises(DataError, match=finding):
        parse(PLAIN, shape=shape)


def test_the_error_shows_both_checksums():
    found, expected = hashlib.sha256(PLAIN).hexdigest(), "0" * 64
    with pytest.raises(DataError, match=f"the SHA-256 {expected}, got {found}"):
        parse(PACKED, sha256=expected)


def test_a_data_error_is_a_value_error():
    with pytest.raises(ValueError, match="digits"):
        parse(b"")


def test_a_small_file_that_unpacks_to_a_huge_one_takes_no_memory():
    bomb = gzip.compress(PLAIN + bytes(50_000_000), compresslevel=9)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="unpacks to more than the 28 bytes"):
            parse(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_refused_by_name(content, packed):
    with pytest.raises(DataError, match="digits"):
        parse(gzip.compress(content) if packed else content)


@pytest.mark.parametrize("whole", [PLAIN, PACKED], ids=["plain", "gzipped"])
def test_every_truncation_and_flipped_bit_is_refused_or_harmless(whole):
    damaged = [whole[:end] for end in range(len(whole))]
    for i in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[i // 8] ^= 1 << i % 8
        damaged.append(bytes(flipped))
    harmless = 0
    for content in damaged:
        try:
            np.testing.assert_array_equal(parse(content), parse(PLAIN))
            harmless += 1  # gzip's header has a time stamp and flags that change nothing
        except DataError:
            continue
    assert harmless == 0 if whole is PLAIN else harmless < 80


@given(st.integers(0, 255), st.lists(st.integers(0, 2**32 - 1), max_size=6), st.binary(max_size=40))
def test_a_header_that_lies_about_sizes_is_refused(ndim, lengths, data):
    content = bytes((0, 0, 8, ndim)) + np.array(lengths, ">u4").tobytes() + data
    with pytest.raises(DataError, match="digits"):
        parse(content)
