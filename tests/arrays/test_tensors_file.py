"""Files of arrays and plain data: what comes back, what others read, and what is refused."""

import io
import json
import os
import subprocess
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from dlskills import FileFormatError, backend_of, to_host
from dlskills.arrays.tensors_file import (
    HEADER_LIMIT,
    read_stream,
    read_tensors,
    split_state,
    write_tensors,
)

DTYPES = [
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16",
    "float32", "float64",
]  # fmt: skip


def same(actual, expected):
    expected = np.asarray(expected)
    assert actual.dtype == expected.dtype.newbyteorder("=")
    assert actual.shape == expected.shape
    assert actual.tobytes() == np.ascontiguousarray(expected, dtype=actual.dtype).tobytes()


arrays = arrays_of.arrays(
    st.sampled_from([f"{order}{np.dtype(kind).str[1:]}" for kind in DTYPES for order in "<>"]),
    arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(
    st.dictionaries(st.text().filter(lambda name: name != "__metadata__"), arrays, max_size=5),
    st.dictionaries(st.text(), plain, max_size=4),
)
def test_what_is_written_comes_back(tmp_path_factory, given, metadata):
    path = tmp_path_factory.getbasetemp() / "tensors"
    write_tensors(path, given, metadata)
    found, told = read_tensors(path)
    assert told == metadata
    assert set(found) == set(given)
    for name, array in given.items():
        same(found[name], array)
        assert found[name].flags.writeable


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_every_library(backend, dtype, tmp_path):
    if not hasattr(backend.xp, dtype):
        pytest.skip(f"{backend} has no {dtype}")
    array = backend.asarray(np.arange(12).reshape(3, 4) % 2, dtype)
    layouts = {"C": array, "F": array.T, "part": array[1:, 1:3], "0-d": array[1, 1]}
    write_tensors(tmp_path / "a", layouts | {"none": array[:0, ...]}, {})
    found, _ = read_tensors(tmp_path / "a")
    for name, values in layouts.items():
        same(found[name], to_host(values))
    assert found["none"].shape == (0, 4)
    assert backend_of(array) == backend


@pytest.mark.backends("torch", "cupy")
def test_bfloat16_comes_back_as_float32(backend, tmp_path):
    if not hasattr(backend.xp, "bfloat16"):
        pytest.skip(f"{backend} has no bfloat16")
    values = backend.asarray([[1.5, -2.0, 3e38], [1e-40, 0.0, -0.0]], "float32")
    write_tensors(tmp_path / "a", {"x": backend.xp.astype(values, backend.xp.bfloat16).T}, {})
    expected = to_host(backend.xp.astype(values, backend.xp.bfloat16))
    same(read_tensors(tmp_path / "a")[0]["x"], expected.T)


def test_bfloat16_of_numpy(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    values = np.array([[1.5, -2.0, np.inf, 3e38]]).astype(ml_dtypes.bfloat16)
    write_tensors(tmp_path / "a", {"x": values}, {})
    same(read_tensors(tmp_path / "a")[0]["x"], values.astype("float32"))


def test_a_tensor_that_requires_a_gradient(tmp_path):
    torch = pytest.importorskip("torch")
    half = torch.ones(3, dtype=torch.bfloat16, requires_grad=True)
    write_tensors(tmp_path / "a", {"x": torch.ones(3, requires_grad=True), "half": half}, {})
    assert read_tensors(tmp_path / "a")[0]["x"].tolist() == [1, 1, 1]


def test_other_readers_of_safetensors_read_it(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    given = {"b": np.ones(3, bool), "W": np.arange(6.0).reshape(2, 3), "half": np.ones(2, "f2")}
    write_tensors(tmp_path / "a", given, {"step": 3})
    found = safetensors.load_file(tmp_path / "a")
    for name, array in given.items():
        same(found[name], array)
    safetensors.save_file(given, tmp_path / "other")
    with pytest.raises(FileFormatError, match="other was not written by dlskills: .* checksum"):
        read_tensors(tmp_path / "other")


def test_arrays_are_aligned_in_the_file(tmp_path):
    given = {"flag": np.ones(3, bool), "half": np.ones(5, "f2"), "wide": np.ones(2)}
    write_tensors(tmp_path / "a", given, {"x": "y"})
    content = (tmp_path / "a").read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert (8 + length) % 64 == 0
    for name, entry in json.loads(content[8 : 8 + length]).items():
        if name != "__metadata__":
            assert entry["data_offsets"][0] % given[name].itemsize == 0


def test_a_state_is_split_into_arrays_and_the_rest():
    state = {"W": np.ones(2), "step": 3, "n": np.float32(1), "name": "x", "none": None}
    arrays, rest = split_state(state)
    assert list(arrays) == ["W", "n"]
    assert rest == {"step": 3, "name": "x", "none": None}
    assert arrays | rest == state


# What is not written


@pytest.mark.parametrize(
    ("arrays", "metadata", "error", "message"),
    [
        ({"x": np.ones(2, complex)}, {}, TypeError, "'x' has dtype complex128; a file holds"),
        ({"x": np.array(["a"])}, {}, TypeError, "'x' has dtype <U1"),
        ({"x": np.array([None])}, {}, TypeError, "'x' has dtype object"),
        ({"x": np.zeros(2, [("a", "i4")])}, {}, TypeError, "'x' has dtype"),
        ({"x": [1.0]}, {}, TypeError, "'x' must be an array, got a list"),
        ({"__metadata__": np.ones(1)}, {}, TypeError, "named by strings other than"),
        ({3: np.ones(1)}, {}, TypeError, "named by strings .* got 3"),
        ({}, {"a": {"b": [1, float("nan")]}}, ValueError, r"metadata\['a'\]\['b'\]\[1\] is nan"),
        ({}, {"a": float("inf")}, ValueError, r"metadata\['a'\] is inf, which JSON lacks"),
        ({}, {"a": np.ones(2)}, TypeError, r"metadata\['a'\] is a ndarray, which JSON can't"),
        ({}, {"a": {1: 2}}, TypeError, r"metadata\['a'\] has a key that is no string, 1"),
        ({}, {"a": {1, 2}}, TypeError, r"metadata\['a'\] is a set"),
        ({}, {"a": "x" * HEADER_LIMIT}, ValueError, "bytes; a file may have 16,777,216"),
    ],
)  # fmt: skip
def test_what_cannot_come_back_is_not_written(tmp_path, arrays, metadata, error, message):
    (tmp_path / "a").write_text("earlier")
    with pytest.raises(error, match=message):
        write_tensors(tmp_path / "a", arrays, metadata)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["earlier"]


def test_a_file_that_cannot_be_written_leaves_the_earlier_one(tmp_path, monkeypatch):
    write_tensors(tmp_path / "a", {"x": np.ones(3)}, {})
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="a can't be written: No space left.*unchanged"):
        write_tensors(tmp_path / "a", {"x": np.zeros(3)}, {})
    monkeypatch.undo()
    assert read_tensors(tmp_path / "a")[0]["x"].tolist() == [1, 1, 1]
    assert len(list(tmp_path.iterdir())) == 1


# Memory


def test_writing_and_reading_take_no_more_memory_than_the_arrays(tmp_path):
    size = 8_000_000
    given = {name: np.ones(size // 8) for name in "abcd"}
    tracemalloc.start()
    try:
        write_tensors(tmp_path / "a", given, {})
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.reset_peak()
        found, _ = read_tensors(tmp_path / "a")
        assert tracemalloc.get_traced_memory()[1] < 4 * size + 1_000_000
    finally:
        tracemalloc.stop()
    same(found["d"], given["d"])


# Hostile files


def file_of(header, data=b"", *, length=None, checksum=True):
    """A file with this header, whose checksum is right unless it should not be."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    if length is None:
        length = len(text)
    found = zlib.crc32(data, zlib.crc32(text, zlib.crc32(length.to_bytes(8, "little"))))
    if checksum:
        text = text.replace(b"crc32 00000000", f"crc32 {found:08x}".encode())
    return length.to_bytes(8, "little") + text + data


def header(plain="{}", **entries):
    return {"__metadata__": {"checksum": "crc32 00000000", "dlskills": plain}} | entries


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def read(content):
    return read_stream(io.BytesIO(content), len(content), "net.safetensors")


GOOD = file_of(header(x=entry()), bytes(8))

REFUSED = {
    "empty": (b"", "holds 0 bytes"),
    "7 bytes": (b"1234567", "holds 7 bytes"),
    "a web page": (b"<!DOCTYPE html><html>", "is not a safetensors file, or it is cut short"),
    "a header of 2**63 bytes": (file_of(header(), length=2**63), "declares a header of 9,223,"),
    "a header cut short": (GOOD[:50], "is cut short"),
    "data cut short": (GOOD[:-1], "declares 8 bytes of data and holds 7"),
    "data too long": (GOOD + b"\0", "declares 8 bytes of data and holds 9"),
    "a flipped bit": (GOOD[:-1] + b"\1", "is damaged: its checksum is crc32"),
    "not JSON": (file_of(b"{'a'}"), "is not valid JSON"),
    "not UTF-8": (file_of(b'{"\xff": 1}'), "is not valid JSON"),
    "a list": (file_of([]), "header of net.safetensors must be an object, got"),
    "deep JSON": (file_of(b"[" * 100_000), "nested too deeply"),
    "deep JSON inside": (file_of(header("[" * 100_000)), "metadata .* nested too deeply"),
    "a name twice": (
        file_of(json.dumps(header(x=entry())).encode()[:-1] + b', "x": 3}', bytes(8)),
        "'x' appears twice",
    ),
    "NaN": (file_of(header('{"a": NaN}')), "NaN is not a number of JSON"),
    "infinity": (file_of(header('{"a": 1e999}')), "'1e999' is too large for a number"),
    "an int of 5000 digits": (file_of(header(f'{{"a": {"9" * 5000}}}')), "is not valid JSON"),
    "no metadata": (file_of({"x": entry()}, bytes(8)), "was not written by dlskills"),
    "metadata that is a list": (file_of(header("[]")), "metadata .* must be an object"),
    "no checksum": (file_of({"__metadata__": {"dlskills": "{}"}}), "was not written by dlskills"),
    "a wrong checksum": (file_of(header(), checksum=False), "is damaged: .* crc32 00000000"),
    "a checksum of another kind": (
        file_of({"__metadata__": {"checksum": "md5", "dlskills": "{}"}}), "is damaged",
    ),
    "an unknown dtype": (file_of(header(x=entry("F7")), bytes(8)), "dtype 'F7'; dlskills reads"),
    "a dtype that is a list": (file_of(header(x=entry([])), bytes(8)), r"has dtype \[\]; "),
    "no shape": (file_of(header(x={"dtype": "F32"}), bytes(8)), "must have a dtype, a shape"),
    "a negative length": (file_of(header(x=entry(shape=[-2])), bytes(8)), "has shape"),
    "a length that is no int": (file_of(header(x=entry(shape=[2.0])), bytes(8)), "has shape"),
    "a length that is a bool": (file_of(header(x=entry(shape=[True])), bytes(8)), "has shape"),
    "100 dimensions": (file_of(header(x=entry(shape=[1] * 100)), bytes(8)), "has shape"),
    "a huge shape": (file_of(header(x=entry(shape=[2**40, 2**40])), bytes(8)), "more than memory"),
    "a huge shape of nothing": (
        file_of(header(x=entry(shape=[0, 2**62], offsets=[0, 0]))), "more than memory",
    ),
    "a shape beyond 64 bits": (file_of(header(x=entry(shape=[2**64])), bytes(8)), "has shape"),
    "offsets that are beyond the end": (
        file_of(header(x=entry(shape=[100], offsets=[0, 400])), bytes(8)), "declares 400 bytes",
    ),
    "offsets that do not fit the shape": (
        file_of(header(x=entry(offsets=[0, 4])), bytes(8)), r"shape \[2\] in F32, and 4 bytes",
    ),
    "three offsets": (file_of(header(x=entry(offsets=[0, 4, 8])), bytes(8)), "has offsets"),
    "overlap": (file_of(header(x=entry(), y=entry()), bytes(8)), "'y' begins at byte 0"),
    "a gap": (file_of(header(x=entry(offsets=[8, 16])), bytes(16)), "byte 8 .*expected 0"),
}  # fmt: skip


def test_the_file_that_the_hostile_ones_are_made_from_is_good():
    found, metadata = read(GOOD)
    assert (found["x"].tolist(), metadata) == ([0, 0], {})


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_hostile_files_are_refused_by_name(content, message):
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match=message) as error:
            read(content)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert "net.safetensors" in str(error.value)
    assert len(str(error.value)) < 400


def test_a_header_too_long_is_refused_before_it_is_read():
    content = (HEADER_LIMIT + 8).to_bytes(8, "little") + b" " * (HEADER_LIMIT + 8)
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match="headers may have 16,777,216"):
            read(content)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    rng = np.random.default_rng(0)
    given = {"W": rng.standard_normal((3, 4)), "b": rng.standard_normal(4), "n": np.arange(3)}
    path = tmp_path_factory.mktemp("tensors") / "a"
    write_tensors(path, given, {"step": 3, "losses": [0.5, 0.25], "name": "é"})
    return path.read_bytes()


def test_every_truncation_is_refused(written):
    for end in range(len(written)):
        with pytest.raises(FileFormatError, match=r"net\.safetensors"):
            read(written[:end])


def test_every_flipped_bit_is_found(written):
    for i in range(len(written)):
        for bit in range(8):
            damaged = bytearray(written)
            damaged[i] ^= 1 << bit
            with pytest.raises(FileFormatError, match=r"net\.safetensors"):
                read(bytes(damaged))


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(content):
    with pytest.raises(FileFormatError, match=r"net\.safetensors"):
        read(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
    | st.sampled_from(["F32", "BF16", "crc32 00000000", "{}", 2**31, 2**63, 2**64]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(["dtype", "shape", "data_offsets", "__metadata__", "dlskills", "checksum"])
        | st.text(max_size=3),
        inner,
        max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@given(json_values, st.binary(max_size=20), json_values)
def test_any_header_is_read_or_refused(content, data, plain):
    if isinstance(content, dict):
        content = header(json.dumps(plain)) | content
    try:
        read(file_of(content, data))
    except FileFormatError as error:
        message = str(error)
    else:
        message = "net.safetensors is good"
    assert "net.safetensors" in message


@pytest.mark.parametrize("make", ["directory", "missing", "pipe"])
def test_what_is_no_file_is_named(tmp_path, make):
    path = tmp_path / "net"
    if make == "directory":
        path.mkdir()
    elif make == "pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("no named pipes here")
        os.mkfifo(path)
    with pytest.raises(FileNotFoundError if make == "missing" else FileFormatError, match="net"):
        read_tensors(path)


def test_a_file_that_shrinks_while_it_is_read_is_refused():
    with pytest.raises(FileFormatError, match="net is cut short: 4 bytes are missing"):
        read_stream(io.BytesIO(GOOD[:-4]), len(GOOD), "net")


KILLED = """
import sys, numpy as np
from dlskills.arrays import tensors_file
write = tensors_file.write_tensors
for i in range(1, 10**6):
    write(sys.argv[1], {"x": np.full(300_000, float(i))}, {"step": i})
    print(i, flush=True)
"""


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_writes_leaves_a_whole_file(tmp_path):
    path = tmp_path / "a"
    rng = np.random.default_rng(0)
    for _ in range(10):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE, text=True
        ) as process:
            process.stdout.readline()
            try:
                process.wait(timeout=rng.uniform(0, 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
        found, metadata = read_tensors(path)
        assert set(found["x"]) == {metadata["step"]}
