"""Parameters: named views of one buffer, on every backend."""

import copy
import pickle

import numpy as np
import pytest

from dlskills import Parameters, backend_of, to_host

SHAPES = {"W": (2, 3), "b": (3,), "scale": (), "none": (0, 4), "cube": (2, 1, 2)}
STARTS = {"W": 0, "b": 6, "scale": 9, "none": 10, "cube": 10}


@pytest.fixture
def params(backend):
    """The numbers 0, 1, 2, ... in the shapes above."""
    made = Parameters.from_shapes(SHAPES, **place(backend))
    for name, start in STARTS.items():
        size = int(np.prod(SHAPES[name]))
        made[name] = backend.asarray((start + np.arange(size)).reshape(SHAPES[name]), "float32")
    return made


def place(backend):
    return {"device": backend.device, "xp": backend.xp}


def values(array):
    return to_host(array).tolist()


def numbers(params):
    """All elements without padding, in their order."""
    return [value for array in params.values() for value in to_host(array).ravel().tolist()]


def test_shapes_and_order_are_kept(params, backend):
    assert list(params) == list(SHAPES)
    assert params.shapes == SHAPES
    assert {name: tuple(array.shape) for name, array in params.items()} == SHAPES
    assert params.size == len(numbers(params)) == 14
    assert len(params) == 5
    assert "W" in params
    assert "V" not in params
    assert params.backend == backend
    assert all(backend_of(array) == backend for array in [params.flat, *params.values()])


def test_each_array_is_its_part_of_the_buffer(params):
    assert values(params["W"]) == [[0, 1, 2], [3, 4, 5]]
    assert values(params["b"]) == [6, 7, 8]
    assert values(params["scale"]) == 9
    assert values(params["none"]) == []
    assert values(params["cube"]) == [[[10, 11]], [[12, 13]]]
    assert params["W"] is params["W"]


def test_views_and_buffer_are_one_memory(params):
    params.flat[...] = 1.0
    assert all((to_host(array) == 1).all() for array in params.values())
    for name in params:
        params[name] += 1
        params[name][...] += 1
    parts = [values(params.flat[start:stop]) for start, stop, _ in params.runs()]
    assert parts == [[3] * 6, [3] * 3, [3], [3] * 4]


# Where arrays are in the buffer


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_array_begins_at_a_multiple_of_64_bytes(backend, dtype):
    params = Parameters.from_shapes(SHAPES, dtype=dtype, **place(backend))
    positions = {"W": 0, "b": 32, "scale": 64, "none": 96, "cube": 96}
    assert tuple(params.flat.shape) == (100,)
    for name, array in params.items():
        array[...] = 1.0
        found = np.flatnonzero(to_host(params.flat)).tolist()
        size = int(np.prod(array.shape))
        assert found == list(range(positions[name], positions[name] + size))
        array[...] = 0.0


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(1,), (31,), (1000,), ()])
def test_numpys_buffer_begins_at_a_multiple_of_64_bytes(dtype, shape):
    made = Parameters.from_shapes({"a": shape, "b": (3,)}, dtype=dtype)
    copies = [made, made.copy(), made.zeros_like(), Parameters(made), copy.deepcopy(made)]
    copies += [pickle.loads(pickle.dumps(made))]
    for params in copies:
        assert {array.ctypes.data % 64 for array in [params.flat, *params.values()]} == {0}
        assert params.flat.flags.c_contiguous
        assert params.flat.flags.writeable


def test_runs_are_as_long_as_padding_and_groups_let_them():
    shapes = {"a": (32,), "b": (2, 16), "c": (3,), "d": (0,), "e": (32,), "f": ()}
    params = Parameters.from_shapes(shapes)
    assert params.runs() == [(0, 67, 0), (96, 129, 0)]
    assert params.runs([0, 0, 1, 1, 0, 0]) == [(0, 64, 0), (64, 67, 1), (96, 129, 0)]
    assert params.runs([0, None, 0, None, 1, 2]) == [
        (0, 32, 0), (64, 67, 0), (96, 128, 1), (128, 129, 2),
    ]  # fmt: skip
    assert params.runs([None] * 6) == []


def test_layouts_agree_in_all_dtypes(backend):
    single = Parameters.from_shapes(SHAPES, **place(backend))
    double = single.zeros_like("float64")
    assert double.dtype == backend.dtype("float64")
    assert double.runs() == single.runs()
    single["cube"] += 1
    double.flat = single.flat
    assert values(double["cube"]) == values(single["cube"])


@pytest.mark.parametrize(
    "assign",
    [
        lambda params: params["b"].__iadd__(1),
        lambda params: params.__setitem__("b", [7, 8, 9]),
        lambda params: params.__setitem__("b", (7.0, 8.0, 9.0)),
        lambda params: params.__setitem__("b", params["b"] + 1),
        lambda params: params.__setitem__("b", params.backend.asarray([7, 8, 9], "float64")),
        lambda params: params.__setitem__("b", params.backend.asarray([7, 8, 9], "int64")),
    ],
    ids=["in place", "list", "tuple", "array", "other dtype", "integers"],
)
def test_setting_writes_into_the_buffer(params, assign):
    view, flat = params["b"], params.flat
    assign(params)

    assert params["b"] is view
    assert params.flat is flat
    assert numbers(params) == [0, 1, 2, 3, 4, 5, 7, 8, 9, 9, 10, 11, 12, 13]


def test_setting_copies(params):
    array = params["b"] + 0
    params["b"] = array
    array += 100

    assert values(params["b"]) == [6, 7, 8]


@pytest.mark.parametrize("value", [5, 5.0, np.float32(5), np.float64(5)])
def test_a_number_sets_an_array_of_no_dimensions(params, value):
    params["scale"] = value

    assert values(params["scale"]) == 5


@pytest.mark.parametrize("value", [[1, 2], 0.0, [[1, 2, 3]]])
def test_setting_keeps_the_shape(params, value):
    message = r"parameter 'b' has shape \(3,\), got an array of shape .*; parameters keep"
    for given in (value, params.backend.asarray(value, "float32")):
        with pytest.raises(ValueError, match=message):
            params["b"] = given
    assert values(params["b"]) == [6, 7, 8]


@pytest.mark.backends("strict", "torch", "cupy")
def test_setting_keeps_the_device(params):
    with pytest.raises(
        TypeError, match=r"parameter 'b' lives on .*, got an array on cpu \(NumPy\)"
    ):
        params["b"] = np.zeros(3)


def test_names_are_fixed(params):
    with pytest.raises(
        KeyError, match=r"no parameter 'scal'; did you mean 'scale'\?; there are: W"
    ):
        params["scal"]
    with pytest.raises(KeyError, match=r"no parameter 'W9'"):
        params["W9"] = 0
    with pytest.raises(
        TypeError, match=r"parameter 'W' is part of one buffer and can't be removed"
    ):
        del params["W"]


def test_zeros_like_and_copy_have_buffers_of_their_own(params):
    zeros, twin = params.zeros_like(), params.copy()
    assert values(zeros.flat) == [0] * 100
    assert values(twin.flat) == values(params.flat)
    for other in (zeros, twin):
        assert params.pairs_with(other)
        assert other.pairs_with(params)
        other.flat[...] = -1.0
        assert values(other["b"]) == [-1] * 3
    assert numbers(params) == list(range(14))


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p)), copy.copy]
)
def test_copies_of_objects_keep_views_and_buffer_together(params, duplicate):
    other = duplicate(params)

    assert values(other.flat) == values(params.flat)
    assert params.pairs_with(other)
    assert backend_of(other.flat) == params.backend
    other["b"] += 1
    assert values(other.flat)[32:35] == [7, 8, 9]
    other.flat[...] = 0.0
    assert values(other["b"]) == [0, 0, 0]
    if duplicate is not copy.copy:
        assert numbers(params) == list(range(14))


def test_setting_flat_writes_values_of_the_same_place(backend):
    params = Parameters.from_shapes(SHAPES, device=backend.device, xp=backend.xp)
    view = params["b"]
    params.flat = backend.asarray(np.arange(100.0))  # of another dtype
    assert params["b"] is view
    assert values(view) == [32, 33, 34]
    with pytest.raises(ValueError, match=r"flat has shape \(100,\), got an array of shape \(1,\)"):
        params.flat = backend.zeros((1,), "float32")
    with pytest.raises(TypeError, match="flat must be an array on .*, got a float"):
        params.flat = 0.0


@pytest.mark.backends("strict", "torch", "cupy")
def test_setting_flat_moves_nothing(backend):
    here = Parameters.from_shapes(SHAPES, device=backend.device, xp=backend.xp)
    host = Parameters.from_shapes(SHAPES)
    for ours, theirs in ((here, host), (host, here)):
        with pytest.raises(TypeError, match="flat is on .*, expected on .*; move it with"):
            ours.flat = theirs.flat


def test_from_arrays_copies(backend):
    arrays = {name: backend.zeros(shape, "float64") for name, shape in SHAPES.items()}
    params = Parameters(arrays)
    params.flat[...] = 1.0

    assert params.shapes == SHAPES
    assert params.dtype == arrays["W"].dtype
    assert params.backend == backend
    assert values(arrays["b"]) == [0, 0, 0]
    assert Parameters(params).pairs_with(params)


def test_from_arrays_in_other_memory_orders(backend):
    array = backend.asarray([[0, 1, 2], [3, 4, 5]], "float32").T
    params = Parameters({"W": array})

    assert values(params["W"]) == [[0, 3], [1, 4], [2, 5]]
    assert values(params.flat) == [0, 3, 1, 4, 2, 5]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_from_shapes(backend, dtype):
    params = Parameters.from_shapes({"W": [2, 3]}, dtype=dtype, **place(backend))

    assert params.dtype == backend.dtype(dtype)
    assert params.shapes == {"W": (2, 3)}
    assert values(params.flat) == [0] * 6


def test_no_shapes_make_an_empty_buffer(backend):
    params = Parameters.from_shapes({}, **place(backend))

    assert (len(params), params.size, tuple(params.flat.shape)) == (0, 0, (0,))


def test_no_arrays_are_refused():
    with pytest.raises(ValueError, match="needs at least one array, got none"):
        Parameters({})


@pytest.mark.parametrize("value", [1.0, [1.0], None, "W"])
def test_what_is_no_array_is_refused(value):
    message = f"parameter 'b' must be an array, got a {type(value).__name__}; make one with"
    with pytest.raises(TypeError, match=message):
        Parameters({"W": np.zeros(2), "b": value})


def test_one_buffer_has_one_dtype(backend):
    arrays = {"W": backend.zeros((2,), "float32"), "b": backend.zeros((2,), "float64")}
    with pytest.raises(TypeError, match=r"one device and dtype: 'W' is .*32 on .*, 'b' is .*64 on"):
        Parameters(arrays)


@pytest.mark.backends("strict", "torch", "cupy")
def test_one_buffer_is_on_one_device(backend):
    arrays = {"W": backend.zeros((2,), "float32"), "b": np.zeros(2, dtype=np.float32)}
    with pytest.raises(TypeError, match=r"one device and dtype: .*'b' is float32 on cpu \(NumPy\)"):
        Parameters(arrays)


@pytest.mark.backends("strict")
def test_one_buffer_is_on_one_device_of_a_library(backend):
    elsewhere = backend.xp.zeros(2, dtype=backend.xp.float32)  # on the default device
    arrays = {"W": backend.zeros((2,), "float32"), "b": elsewhere}
    with pytest.raises(TypeError, match="one device and dtype: .*device1.*CPU_DEVICE"):
        Parameters(arrays)


def test_layouts_pair_only_if_buffers_mean_the_same(backend):
    params = Parameters.from_shapes({"W": (2, 3), "b": (3,)}, **place(backend))
    others = {
        "order": Parameters.from_shapes({"b": (3,), "W": (2, 3)}, **place(backend)),
        "names": Parameters.from_shapes({"W": (2, 3), "c": (3,)}, **place(backend)),
        "shapes": Parameters.from_shapes({"W": (3, 2), "b": (3,)}, **place(backend)),
        "dtype": Parameters.from_shapes(params.shapes, dtype="float64", **place(backend)),
        "a dict": dict(params),
        "none": None,
    }
    if backend.name != "numpy":
        others["device"] = Parameters.from_shapes(params.shapes)
    assert {what for what, other in others.items() if params.pairs_with(other)} == set()
    assert params.pairs_with(Parameters.from_shapes(params.shapes, **place(backend)))


def test_repr_says_what_is_where():
    params = Parameters.from_shapes({"W": (784, 50), "b": (50,)})

    assert repr(params) == "Parameters(W: (784, 50), b: (50,); 39,250 x float32 on cpu (NumPy))"


def test_values_on_the_host_are_copies(params):
    host = params.on_host()
    assert {name: array.shape for name, array in host.items()} == params.shapes
    assert all(type(array) is np.ndarray for array in host.values())
    for name, array in host.items():
        np.testing.assert_array_equal(array, to_host(params[name]))
    before = numbers(params)
    host["b"][...] = -1
    assert numbers(params) == before


def test_a_pickle_holds_no_array_of_the_library(params):
    state = params.__getstate__()
    assert type(state["flat"]) is np.ndarray
    assert state["dtype"] == str(params.dtype).rpartition(".")[2]
