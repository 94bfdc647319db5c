"""JSON that may be damaged or hostile: read, or refused by the name of the file."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlskills import strict_json
from dlskills.files import FileFormatError
from dlskills.strict_json import parse_json, read_json, shortened

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)  # fmt: skip


@given(values)
def test_strict_json_is_what_python_reads(value):
    assert parse_json(json.dumps(value).encode(), "a.json") == value


REFUSED = {
    "empty": b"",
    "cut short": b'{"a": [1, 2',
    "not UTF-8": b'"\xff"',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "a name twice": b'{"a": 1, "a": 1}',
    "an int of 5000 digits": b"9" * 5000,
}
NOT_FINITE = {
    "NaN": b"[NaN]", "Infinity": b"Infinity", "-Infinity": b"-Infinity", "1e999": b"1e999",
}  # fmt: skip


@pytest.mark.parametrize("text", (REFUSED | NOT_FINITE).values(), ids=REFUSED | NOT_FINITE)
def test_anything_else_is_refused_by_name(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(FileFormatError, match=r"a\.json is not valid JSON: ") as error:
        read_json(tmp_path / "a.json")
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_numbers_that_are_not_finite_change_nothing_else(text):
    with pytest.raises(FileFormatError, match=r"a\.json is not valid JSON: "):
        parse_json(text, "a.json", finite=False)


@pytest.mark.parametrize("text", NOT_FINITE.values(), ids=NOT_FINITE)
def test_numbers_that_are_not_finite_can_be_let_in(text):
    value = parse_json(text, "a.json", finite=False)
    assert not math.isfinite(value[0] if isinstance(value, list) else value)


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused_by_name(text):
    try:
        value = parse_json(text, "a.json")
    except FileFormatError as error:
        message = str(error)
    else:
        message = f"a.json {json.dumps(value)}"
    assert "a.json" in message


def test_a_file_that_is_too_long_is_not_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(strict_json, "SIZE_LIMIT", 10)
    (tmp_path / "a.json").write_text("[1, 2, 3, 4]")
    with pytest.raises(FileFormatError, match=r"a\.json is longer than the 10 bytes that are read"):
        read_json(tmp_path / "a.json")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(FileFormatError, match="is not a regular file"):
        read_json(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "missing.json")


@pytest.mark.parametrize("value", ["x" * 999, [1] * 999, [[]] * 999, {"x": "y" * 999}, 10**900])
def test_values_are_shortened(value):
    assert len(shortened(value)) <= 60
