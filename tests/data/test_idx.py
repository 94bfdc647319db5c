"""The IDX reader: what it gives for a good file, and how it refuses each kind of bad one."""

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
def test_gives_the_items_in_row_major_order(content):
    items = parse(content)
    assert items.dtype == np.uint8
    np.testing.assert_array_equal(items, np.arange(12).reshape(SHAPE))


def test_is_read_only_so_that_the_bytes_checked_are_the_bytes_given():
    assert not parse(PLAIN).flags.writeable


def test_recompression_does_not_matter_because_the_checksum_is_of_the_plain_bytes():
    again = gzip.compress(PLAIN, compresslevel=1, mtime=12345)
    assert again != PACKED
    np.testing.assert_array_equal(parse(again), parse(PACKED))


damaged = bytearray(PACKED)
damaged[-20] ^= 0xFF

REFUSED = {
    "truncated gzip": (PACKED[:-9], "gzip file cut short or damaged .*end-of-stream"),
    "nothing after the gzip magic": (PACKED[:2], "gzip file cut short or damaged"),
    "damaged gzip": (bytes(damaged), "gzip file cut short or damaged"),
    "wrong CRC": (PACKED[:-8] + bytes(4) + PACKED[-4:], "gzip file cut short or damaged .*CRC"),
    "empty": (b"", "holds 0 bytes; an IDX file begins with a magic number"),
    "error page": (b"<!DOCTYPE html>" + bytes(9), r"begins with b'<!DO'; expected the magic"),
    "another item type": (b"\0\0\x0d\3" + PLAIN[4:], r"begins with b'\\x00\\x00\\r\\x03'"),
    "labels for images": (b"\0\0\x08\1\0\0\0\3abc", r"unsigned bytes in 3 dimensions"),
    "header alone cut short": (PLAIN[:11], "holds 11 bytes; its header alone takes 16"),
    "data cut short": (PLAIN[:-1], r"holds 27 bytes; expected 28 for items of shape \(3, 2, 2\)"),
    "gzipped data too long": (gzip.compress(PLAIN + b"\0"), "unpacks to more than the 28 bytes"),
    "data too long": (PLAIN + b"\0", r"holds 29 bytes; expected 28"),
    "one pixel changed": (PLAIN[:-1] + b"\0", "other contents: their SHA-256 is [0-9a-f]{64}"),
}


@pytest.mark.parametrize(("content", "finding"), REFUSED.values(), ids=REFUSED)
def test_refuses_by_name_with_the_finding_and_what_to_do(content, finding):
    with pytest.raises(DataError, match=f"(?s)^digits.gz .*{finding}.*Get it again[.]$"):
        parse(content)


@pytest.mark.parametrize("shape", [(4, 2, 2), (3, 2, 3)], ids=["count", "dimensions"])
def test_refuses_another_shape(shape):
    finding = re.escape(f"holds items of shape (3, 2, 2); expected {shape}")
    with pytest.raises(DataError, match=finding):
        parse(PLAIN, shape=shape)


def test_a_refusal_says_which_checksum_was_found_and_which_expected():
    found, expected = hashlib.sha256(PLAIN).hexdigest(), "0" * 64
    with pytest.raises(DataError, match=f"{found}; expected {expected}"):
        parse(PACKED, sha256=expected)


def test_a_refusal_is_a_value_error():
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
