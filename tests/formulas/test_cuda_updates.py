"""Updates on the engine `cuda`, of single arrays and of many arrays in one launch."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from dlskills.formulas import engines
from dlskills.formulas.cuda_source import CHUNK
from dlskills.formulas.engines import cuda_table
from dlskills.formulas.formula import Rule
from dlskills.formulas.table import FlatTable, Table

pytestmark = pytest.mark.backends("cupy")


def adam_rule(xp):
    def update(param, grad, m, v, lr, decay, epsilon):
        m = decay * m + (1 - decay) * grad
        v = decay * v + (1 - decay) * grad * grad
        return param - lr * m / (xp.sqrt(v) + epsilon), m, v

    return update


def scaled_rule(xp):
    update = adam_rule(xp)
    return lambda param, grad, m, v, *numbers: update(
        param, grad * numbers[-1], m, v, *numbers[:-1]
    )


ADAM, SCALED = Rule(adam_rule), Rule(scaled_rule)
TOLERANCE = {"float16": 2e-3, "float32": 1e-5, "float64": 1e-12}


def row_of(size, dtypes, rng):
    return [np.abs(rng.standard_normal(size)).astype(dtype) for dtype in dtypes]


def numbers_of(group):
    return 0.001 * (group + 1), 0.9, 1e-4


def check(rows, host, groups, factor=1.0):
    """Compare rows after one update with NumPy in double precision."""
    for row, before, group in zip(rows, host, groups, strict=True):
        param, grad, m, v = (array.astype("float64") for array in before)
        param, m, v = adam_rule(np)(param, grad * factor, m, v, *numbers_of(group))
        assert (row[1].get() == before[1]).all()
        for array, want in zip([row[0], *row[2:]], [param, m, v], strict=True):
            tolerance = TOLERANCE[array.dtype.name]
            np.testing.assert_allclose(array.get(), want, rtol=tolerance, atol=tolerance)


DTYPES = [
    ("float32",) * 4, ("float64",) * 4, ("float16",) * 4,
    ("float16", "float16", "float32", "float32"),
]  # fmt: skip


@hypothesis.given(data=st.data())
def test_updates_of_arbitrary_rows_match_numpy(backend, data):
    sizes = st.one_of(
        st.integers(0, 30), st.tuples(st.integers(1, 9), st.integers(1, 9)),
        st.sampled_from([CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5]),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    host, rows, groups = [], [], []
    factor = data.draw(st.booleans())
    count = data.draw(st.sampled_from([1, 2, 400]))
    for _ in range(data.draw(st.integers(1, 12))):
        host.append(row_of(data.draw(sizes), data.draw(st.sampled_from(DTYPES)), rng))
        how = data.draw(st.sampled_from(["", "", "transposed", "mixed", "strided"]))
        row = [backend.asarray(array) for array in host[-1]]
        for i, array in enumerate(row):
            if (how == "transposed" or (how == "mixed" and i == 1)) and array.ndim == 2:
                row[i] = backend.xp.asarray(array.T.copy()).T
            elif how == "strided":
                row[i] = backend.xp.repeat(array, 2, axis=-1)[..., ::2]
        rows.append(row)
        groups.append(data.draw(st.integers(0, count - 1)))
    table = Table(rows, groups)
    table.rule = SCALED if factor else ADAM
    shared = (backend.asarray(np.float32(0.5)),) if factor else ()
    table.numbers = [(*numbers_of(group), *shared) for group in range(count)]
    with engines.engine("cuda"):
        engines.update(table)
    check(rows, host, groups, 0.5 if factor else 1.0)


def table_of(backend, sizes, groups=None, dtypes=DTYPES[0]):
    rng = np.random.default_rng(0)
    host = [row_of(size, dtypes, rng) for size in sizes]
    table = Table([[backend.asarray(array) for array in row] for row in host], groups)
    table.rule = ADAM
    table.numbers = [numbers_of(group) for group in range(max(table.groups) + 1)]
    return table, host


TABLES = {
    "one row": ([100], None, 1),
    "one row of a later group": ([(30, 40)], [3], 1),
    "two rows": ([100, 200], None, 1),
    "some empty": ([0, 5000, 0, 7, 1], [0, 1, 2, 1, 0], 1),
    "all empty": ([0, 0], None, 0),
    "more coefficients than fit into one launch": (range(334), range(334), 2),
    "groups of two launches, alternating": ([3] * 6, [399, 0, 398, 1, 399, 0], 2),
}


@pytest.mark.parametrize(("sizes", "groups", "launches"), TABLES.values(), ids=TABLES)
def test_number_of_launches(sizes, groups, launches, backend, device_counters):
    table, host = table_of(backend, sizes, groups)
    before = [[array.copy() for array in row] for row in table.rows]
    engines.update(table)  # compiles the kernel and creates the table on the device
    for row, values in zip(table.rows, before, strict=True):
        for array, value in zip(row, values, strict=True):
            array[...] = value
    with device_counters.counting() as added:
        engines.update(table)
    assert added["kernel_launches"] == launches
    assert added["copies_h2d"] == added["copies_d2h"] == added["copies_d2d"] == 0
    check(table.rows, host, table.groups)


def test_many_rows_take_one_launch(backend, device_counters):
    rng = np.random.default_rng(0)
    ends = np.cumsum(rng.integers(0, 9, 10_000)).tolist()
    host = row_of(ends[-1], DTYPES[0], rng)
    flat = [backend.asarray(array) for array in host]
    parts = list(zip([0, *ends], ends, strict=False))
    table = Table([[array[begin:end] for array in flat] for begin, end in parts])
    table.rule, table.numbers = ADAM, [numbers_of(0)]
    with device_counters.counting() as added:
        engines.update(table)
    assert added["kernel_launches"] == 1
    check([flat], [host], [0])


def test_each_combination_of_dtypes_takes_one_launch(backend, device_counters):
    table, host = table_of(backend, [10, 20])
    more, more_host = table_of(backend, [10, 20], dtypes=DTYPES[3])
    table = Table([*table.rows, *more.rows])
    table.rule, table.numbers = ADAM, [numbers_of(0)]
    with device_counters.counting() as added:
        engines.update(table)
    assert added["kernel_launches"] == 2
    check(table.rows, host + more_host, table.groups)


def test_rule_and_coefficients_may_change_between_steps(backend):
    table, host = table_of(backend, [10, 20])
    engines.update(table)
    check(table.rows, host, table.groups)
    host = [[array.get() for array in row] for row in table.rows]
    table.rule, factor = SCALED, backend.asarray(np.float64(0.25))
    table.numbers = [(*numbers_of(0), factor)]
    engines.update(table)
    check(table.rows, host, table.groups, 0.25)


def test_a_rule_without_coefficients(backend):
    @Rule
    def halve(xp):
        return lambda param, grad: param / 2

    rows = [[backend.xp.ones(3), backend.xp.ones(3)] for _ in range(2)]
    table = Table(rows)
    table.rule, table.numbers = halve, [()]
    engines.update(table)
    assert [row[0].get().tolist() for row in rows] == [[0.5] * 3] * 2


@pytest.mark.parametrize("rows", [1, 2])
def test_a_rule_with_too_few_results_is_rejected(rows, backend):
    @Rule
    def short(xp):
        return lambda param, grad, m: param

    table = Table([[backend.xp.ones(3) for _ in range(3)] for _ in range(rows)])
    table.rule, table.numbers = short, [()]
    with pytest.raises(TypeError, match=r"must return \(param, \*slots\), 2 in all.*, got 1$"):
        engines.update(table)


def test_coefficients_fit_into_the_kernel_arguments():
    flat_arrays = 64
    table, factor = 8 + 4 + 4 + 4, 8
    assert cuda_table.NUMBERS_BYTES + table + 8 * flat_arrays + factor <= 4096


def flat_table(rng, backend, runs, size, dtypes=("float32",) * 4):
    host = row_of(size, dtypes, rng)
    flats = [backend.asarray(array) for array in host]
    table = FlatTable(lambda: flats, runs)
    table.rule, table.numbers = ADAM, [numbers_of(group) for group in range(3)]
    return flats, host, table


def check_ranges(flats, host, runs):
    for start, stop, group in runs:
        check([[a[start:stop] for a in flats]], [[a[start:stop] for a in host]], [group])
    inside = np.zeros(len(host[0]), bool)
    for start, stop, _ in runs:
        inside[start:stop] = True
    for flat, before in zip(flats, host, strict=True):
        np.testing.assert_array_equal(flat.get()[~inside], before[~inside])


@pytest.mark.parametrize("dtypes", DTYPES)
def test_ranges_of_flat_arrays_are_updated_and_nothing_between_them(dtypes, backend):
    runs = [(0, 3, 0), (16, 16 + 2 * CHUNK + 5, 2), (2 * CHUNK + 40, 2 * CHUNK + 41, 1)]
    flats, host, table = flat_table(np.random.default_rng(0), backend, runs, 2 * CHUNK + 64, dtypes)
    engines.update(table)
    check_ranges(flats, host, runs)


def test_a_step_over_flat_arrays_makes_no_views_and_takes_new_gradients(backend, monkeypatch):
    rng = np.random.default_rng(0)
    runs = [(64 * i, 64 * i + 50, i % 3) for i in range(100)]
    flats, _, table = flat_table(rng, backend, runs, 6400)
    engines.update(table)
    monkeypatch.setattr(FlatTable, "_ranges", None)  # would be called to make views
    flats[1] = backend.asarray(row_of(6400, ["float32"], rng)[0])
    table.renew_gradients()
    assert table.memory, "prepared once"
    host = [flat.get() for flat in flats]
    engines.update(table)
    check_ranges(flats, host, runs)


def test_rows_take_new_gradients_without_a_new_table(backend):
    rng = np.random.default_rng(0)
    host = [row_of(size, ["float32"] * 4, rng) for size in (3, CHUNK + 1, 7)]
    rows = [[backend.asarray(array) for array in row] for row in host]
    groups = [1, 0, 1]
    table = Table(lambda: rows, groups)
    table.rule, table.numbers = ADAM, [numbers_of(group) for group in range(2)]
    engines.update(table)
    prepared = table.memory["cuda"]
    for row in rows:
        row[1] = backend.asarray(row_of(row[0].size, ["float32"], rng)[0])
    table.renew_gradients()
    assert table.memory["cuda"] is prepared
    host = [[array.get() for array in row] for row in rows]
    engines.update(table)
    check(rows, host, groups)
    rows[1][1] = backend.zeros((2 * CHUNK + 2,), "float32")[::2]  # not contiguous
    table.renew_gradients()
    assert not table.memory
    host = [[array.get() for array in row] for row in rows]
    engines.update(table)
    check(rows, host, groups)
