"""Parameters, the named views of one buffer, on every backend."""

import copy
import pickle

import numpy as np
import pytest

from dlskills import Parameters, backend_of, to_host

SHAPES = {"W": (2, 3), "b": (3,), "scale": (), "none": (0, 4), "cube": (2, 1, 2)}
STARTS = {"W": 0, "b": 6, "scale": 9, "none": 10, "cube": 10}


@pytest.fixture
def params(backend):
    """Parameters that hold 0, 1, 2, ... in the shapes above."""
    made = Parameters.from_shapes(SHAPES, **on(backend))
    for name, start in STARTS.items():
        size = int(np.prod(SHAPES[name]))
        made[name] = backend.asarray((start + np.arange(size)).reshape(SHAPES[name]), "float32")
    return made


def on(backend):
    return {"device": backend.device, "xp": backend.xp}


def values(array):
    return to_host(array).tolist()


def numbers(params):
    """Return all elements in order, without padding."""
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


def test_each_array_is_a_slice_of_the_buffer(params):
    assert values(params["W"]) == [[0, 1, 2], [3, 4, 5]]
    assert values(params["b"]) == [6, 7, 8]
    assert values(params["scale"]) == 9
    assert values(params["none"]) == []
    assert values(params["cube"]) == [[[10, 11]], [[12, 13]]]
    assert params["W"] is params["W"]


def test_views_share_memory_with_the_buffer(params):
    params.flat[...] = 1.0
    assert all((to_host(array) == 1).all() for array in params.values())
    for name in params:
        params[name] += 1
        params[name][...] += 1
    parts = [values(params.flat[start:stop]) for start, stop, _ in params.runs()]
    assert parts == [[3] * 6, [3] * 3, [3], [3] * 4]


# Layout of the buffer


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_array_is_aligned_to_64_bytes(backend, dtype):
    params = Parameters.from_shapes(SHAPES, dtype=dtype, **on(backend))
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
def test_a_numpy_buffer_is_aligned_to_64_bytes(dtype, shape):
    made = Parameters.from_shapes({"a": shape, "b": (3,)}, dtype=dtype)
    copies = [made, made.copy(), made.zeros_like(), Parameters(made), copy.deepcopy(made)]
    copies += [pickle.loads(pickle.dumps(made))]
    for params in copies:
        assert {array.ctypes.data % 64 for array in [params.flat, *params.values()]} == {0}
        assert params.flat.flags.c_contiguous
        assert params.flat.flags.writeable


def test_runs_end_only_at_padding_and_group_boundaries():
    shapes = {"a": (32,), "b": (2, 16), "c": (3,), "d": (0,), "e": (32,), "f": ()}
    params = Parameters.from_shapes(shapes)
    assert params.runs() == [(0, 67, 0), (96, 129, 0)]
    assert params.runs([0, 0, 1, 1, 0, 0]) == [(0, 64, 0), (64, 67, 1), (96, 129, 0)]
    assert params.runs([0, None, 0, None, 1, 2]) == [
        (0, 32, 0), (64, 67, 0), (96, 128, 1), (128, 129, 2),
    ]  # fmt: skip
    assert params.runs([None] * 6) == []


def test_the_layout_does_not_depend_on_the_dtype(backend):
    single = Parameters.from_shapes(SHAPES, **on(backend))
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


def test_setting_copies_the_values(params):
    array = params["b"] + 0
    params["b"] = array
    array += 100

    assert values(params["b"]) == [6, 7, 8]


@pytest.mark.parametrize("value", [5, 5.0, np.float32(5), np.float64(5)])
def test_a_0d_array_can_be_set_to_a_number(params, value):
    params["scale"] = value

    assert values(params["scale"]) == 5


@pytest.mark.parametrize("value", [[1, 2], 0.0, [[1, 2, 3]]])
def test_setting_an_array_of_another_shape_is_rejected(params, value):
    message = r"parameter 'b' has shape \(3,\), got an array of shape .*\. Parameters keep"
    for given in (value, params.backend.asarray(value, "float32")):
        with pytest.raises(ValueError, match=message):
            params["b"] = given
    assert values(params["b"]) == [6, 7, 8]


@pytest.mark.backends("strict", "torch", "cupy")
def test_setting_an_array_on_another_device_is_rejected(params):
    with pytest.raises(TypeError, match=r"parameter 'b' is on .*, got an array on cpu \(NumPy\)"):
        params["b"] = np.zeros(3)


def test_unknown_names_and_deletion_are_rejected(params):
    with pytest.raises(
        KeyError,
        match=r"parameter 'scal' does not exist; did you mean 'scale'\? Available: W",
    ):
        params["scal"]
    with pytest.raises(KeyError, match="parameter 'W9' does not exist"):
        params["W9"] = 0
    with pytest.raises(
        TypeError, match=r"parameter 'W' is part of one buffer and can't be removed"
    ):
        del params["W"]


def test_zeros_like_and_copy_have_separate_buffers(params):
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
def test_copied_objects_have_views_of_their_own_buffer(params, duplicate):
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


def test_setting_flat_writes_into_the_existing_buffer(backend):
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
def test_setting_flat_from_another_device_is_rejected(backend):
    here = Parameters.from_shapes(SHAPES, device=backend.device, xp=backend.xp)
    host = Parameters.from_shapes(SHAPES)
    for ours, theirs in ((here, host), (host, here)):
        with pytest.raises(TypeError, match=r"flat must be on .*, got an array on .*\. Move it"):
            ours.flat = theirs.flat


def test_the_constructor_copies_its_arrays(backend):
    arrays = {name: backend.zeros(shape, "float64") for name, shape in SHAPES.items()}
    params = Parameters(arrays)
    params.flat[...] = 1.0

    assert params.shapes == SHAPES
    assert params.dtype == arrays["W"].dtype
    assert params.backend == backend
    assert values(arrays["b"]) == [0, 0, 0]
    assert Parameters(params).pairs_with(params)


def test_the_constructor_accepts_other_memory_orders(backend):
    array = backend.asarray([[0, 1, 2], [3, 4, 5]], "float32").T
    params = Parameters({"W": array})

    assert values(params["W"]) == [[0, 3], [1, 4], [2, 5]]
    assert values(params.flat) == [0, 3, 1, 4, 2, 5]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_from_shapes(backend, dtype):
    params = Parameters.from_shapes({"W": [2, 3]}, dtype=dtype, **on(backend))

    assert params.dtype == backend.dtype(dtype)
    assert params.shapes == {"W": (2, 3)}
    assert values(params.flat) == [0] * 6


def test_from_shapes_without_shapes_is_empty(backend):
    params = Parameters.from_shapes({}, **on(backend))

    assert (len(params), params.size, tuple(params.flat.shape)) == (0, 0, (0,))


def test_an_empty_mapping_is_rejected():
    with pytest.raises(ValueError, match="needs at least one array, got none"):
        Parameters({})


@pytest.mark.parametrize("value", [1.0, [1.0], None, "W"])
def test_values_that_are_not_arrays_are_rejected(value):
    message = f"parameter 'b' must be an array, got a {type(value).__name__}. Create one with"
    with pytest.raises(TypeError, match=message):
        Parameters({"W": np.zeros(2), "b": value})


def test_different_dtypes_are_rejected(backend):
    arrays = {"W": backend.zeros((2,), "float32"), "b": backend.zeros((2,), "float64")}
    with pytest.raises(TypeError, match=r"one device and dtype: 'W' is .*32 on .*, 'b' is .*64 on"):
        Parameters(arrays)


@pytest.mark.backends("strict", "torch", "cupy")
def test_different_libraries_are_rejected(backend):
    arrays = {"W": backend.zeros((2,), "float32"), "b": np.zeros(2, dtype=np.float32)}
    with pytest.raises(TypeError, match=r"one device and dtype: .*'b' is float32 on cpu \(NumPy\)"):
        Parameters(arrays)


@pytest.mark.backends("strict")
def test_different_devices_of_a_library_are_rejected(backend):
    elsewhere = backend.xp.zeros(2, dtype=backend.xp.float32)  # on the default device
    arrays = {"W": backend.zeros((2,), "float32"), "b": elsewhere}
    with pytest.raises(TypeError, match="one device and dtype: .*device1.*CPU_DEVICE"):
        Parameters(arrays)


def test_pairs_with_requires_equal_layout_dtype_and_device(backend):
    params = Parameters.from_shapes({"W": (2, 3), "b": (3,)}, **on(backend))
    others = {
        "order": Parameters.from_shapes({"b": (3,), "W": (2, 3)}, **on(backend)),
        "names": Parameters.from_shapes({"W": (2, 3), "c": (3,)}, **on(backend)),
        "shapes": Parameters.from_shapes({"W": (3, 2), "b": (3,)}, **on(backend)),
        "dtype": Parameters.from_shapes(params.shapes, dtype="float64", **on(backend)),
        "a dict": dict(params),
        "none": None,
    }
    if backend.name != "numpy":
        others["device"] = Parameters.from_shapes(params.shapes)
    assert {what for what, other in others.items() if params.pairs_with(other)} == set()
    assert params.pairs_with(Parameters.from_shapes(params.shapes, **on(backend)))


def test_repr_shows_shapes_dtype_and_device():
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
