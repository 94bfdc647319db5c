"""Backends: selecting a device, transferring arrays, and errors."""

import copy
import pickle
import re
import sys
import types

import array_api_compat
import numpy as np
import pytest
from two_gpus import with_two_gpus

from dlskills import DeviceError, backend_of, get_backend, namespace, to_device, to_host
from dlskills.arrays.backend import check_array, device_of
from dlskills.installation import install_command

ELSEWHERE = pytest.mark.backends("strict", "torch", "cupy")


# Selecting a backend


@pytest.mark.parametrize(
    "arguments",
    [{}, {"device": None}, {"device": "cpu"}, {"xp": np}, {"device": "cpu", "xp": np}],
    ids=str,
)
def test_the_cpu_is_numpy_itself(arguments):
    backend = get_backend(**arguments)

    assert (backend.name, backend.xp, backend.device) == ("numpy", np, None)
    assert str(backend) == "cpu (NumPy)"
    assert backend is get_backend()


def test_the_compat_namespace_of_numpy_gives_numpy():
    import array_api_compat.numpy as compat

    assert get_backend(xp=compat) is get_backend("cpu", xp=compat) is get_backend()


def test_get_backend_round_trips_device_and_namespace(backend):
    assert get_backend(backend.device, backend.xp) == backend
    assert backend != get_backend() or backend.name == "numpy"


@pytest.mark.backends("strict")
def test_a_device_of_array_api_strict_can_be_named(backend):
    import array_api_strict

    assert get_backend("device1", array_api_strict) == backend
    assert get_backend(xp=array_api_strict).device == array_api_strict.Device("CPU_DEVICE")
    assert get_backend(xp=array_api_strict) != backend
    message = r"device 'device7' is not known to array_api_strict\. Available: "
    with pytest.raises(DeviceError, match=message):
        get_backend("device7", array_api_strict)


@pytest.mark.backends("torch")
def test_torch_can_be_given_as_namespace(backend):
    import torch

    assert get_backend("cpu", torch) == backend
    assert backend.name == "torch"
    assert backend.xp.__name__ == "array_api_compat.torch"
    with pytest.raises(DeviceError, match=r"'cuda:99' is not known to torch\. Available: "):
        get_backend("cuda:99", torch)


@pytest.mark.backends("cupy")
def test_every_way_to_name_cupy_gives_the_same_backend(backend):
    import cupy

    pairs = [("cuda", None), ("cuda:0", None), (None, cupy), ("cuda", cupy), ("cuda", backend.xp)]
    for device, xp in [*pairs, (cupy.cuda.Device(0), cupy)]:
        assert get_backend(device, xp) == backend
    assert str(backend) == "cuda:0 (CuPy)"
    with pytest.raises(ValueError, match="device must be 'cuda' or 'cuda:N' for CuPy, got 'cpu'"):
        get_backend("cpu", cupy)


@pytest.mark.backends("cupy")
def test_a_missing_gpu_is_rejected(backend):
    with pytest.raises(DeviceError, match=r"device 'cuda:99' does not exist\. Available: 'cuda:0"):
        get_backend("cuda:99")


@pytest.mark.parametrize(
    ("device", "hint"),
    [
        ("gpu", "; did you mean 'cuda'?"),
        ("CUDDA", "; did you mean 'cuda'?"),
        ("cuda0", "; did you mean 'cuda'?"),
        ("cuda:", "; did you mean 'cuda'?"),
        ("cuda:-1", "; did you mean 'cuda'?"),
        ("xyz", ""),
        (0, ""),
    ],
)
def test_an_unknown_device_name_is_rejected(device, hint):
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        get_backend(device)
    assert str(raised.value) == f"device must be 'cpu', 'cuda' or 'cuda:N', got {device!r}{hint}"


def test_a_gpu_is_rejected_for_numpy():
    with pytest.raises(ValueError, match="device must be 'cpu' for NumPy, got 'cuda'"):
        get_backend("cuda", np)


@pytest.mark.parametrize("xp", ["numpy", sys, np.zeros(2)], ids=["name", "module", "array"])
def test_an_invalid_namespace_is_rejected(xp):
    with pytest.raises(ValueError, match="xp must be an Array API namespace, got"):
        get_backend(xp=xp)


def fake_cupy(monkeypatch, count, driver=0, is_hip=False):
    """Install a fake CuPy for CUDA 12.9 or for ROCm, with `count()` devices."""

    class CUDARuntimeError(RuntimeError):
        pass

    runtime = types.SimpleNamespace(CUDARuntimeError=CUDARuntimeError, is_hip=is_hip)
    runtime.runtimeGetVersion = lambda: 12_090
    runtime.getDeviceCount = lambda: count(CUDARuntimeError)
    runtime.driverGetVersion = lambda: driver
    module = types.ModuleType("cupy")
    # the version of an installed toolkit, which may differ from CuPy's runtime
    module.cuda = types.SimpleNamespace(runtime=runtime, get_local_runtime_version=lambda: 13_000)
    monkeypatch.setitem(sys.modules, "cupy", module)


def no_driver(error):
    raise error("cudaErrorInsufficientDriver: CUDA driver version is insufficient")


def test_a_missing_cupy_gives_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # makes the import fail
    command = re.escape(install_command("gpu"))
    message = rf"^device 'cuda:1' needs CuPy, which is not installed; .*: {command}$"
    with pytest.raises(DeviceError, match=message):
        get_backend("cuda:1")


def test_a_broken_cupy_gives_the_import_error(monkeypatch, tmp_path):
    (tmp_path / "cupy.py").write_text("import no_such_library")
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DeviceError, match="CuPy, which fails to import: .*'no_such_library'"):
        get_backend("cuda")


def test_a_missing_driver_gives_the_remedy(monkeypatch):
    fake_cupy(monkeypatch, no_driver)
    message = r"^device 'cuda': CuPy found no usable GPU \(cudaErrorInsu.*\)\. Install or update"
    with pytest.raises(DeviceError, match=message):
        get_backend("cuda")


def test_an_outdated_driver_gives_both_versions(monkeypatch):
    fake_cupy(monkeypatch, no_driver, driver=11_080)
    message = (
        r"the NVIDIA driver is too old: it supports CUDA 11.8, but this CuPy needs 12.9 \(cudaErr"
    )
    with pytest.raises(DeviceError, match=message):
        get_backend("cuda")


def test_a_missing_amd_gpu_does_not_mention_nvidia(monkeypatch):
    fake_cupy(monkeypatch, no_driver, is_hip=True)
    with pytest.raises(DeviceError, match="the AMD driver and ROCm") as raised:
        get_backend("cuda")
    assert "nvidia" not in str(raised.value).lower()


@pytest.mark.parametrize(("count", "available"), [(2, "'cuda:0', 'cuda:1'"), (0, "none")])
def test_a_gpu_index_out_of_range_lists_the_gpus(monkeypatch, count, available):
    fake_cupy(monkeypatch, lambda error: count)
    message = f"^device 'cuda:2' does not exist. Available: {available}$"
    with pytest.raises(DeviceError, match=message):
        get_backend("cuda:2")


# Creating arrays


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_arrays_are_created_on_the_backend(backend, dtype):
    for array in (
        backend.zeros((2, 3), dtype),
        backend.empty((2, 3), dtype),
        backend.asarray([[0, 1, 0], [1, 0, 1]], dtype),
        backend.zeros((0,), backend.dtype(dtype)),
    ):
        assert backend_of(array) == backend
        assert array.dtype == backend.dtype(dtype)
    assert not to_host(backend.zeros((2, 3), dtype)).any()


@pytest.mark.parametrize("values", [1.5, True, [1, 2], [[0.5], [2.0]], np.float32(2), np.ones(3)])
def test_values_become_an_array(backend, values):
    array = backend.asarray(values)

    assert backend_of(array) == backend
    assert not isinstance(array, np.generic)
    assert to_host(array).dtype.kind == np.asarray(values).dtype.kind
    np.testing.assert_array_equal(to_host(array), values)


def test_asarray_does_not_copy_without_need(backend):
    array = backend.zeros((2,), "float32")

    assert backend.asarray(array) is array
    assert backend.asarray(array, "float32") is array
    assert backend.asarray(array, "float64").dtype == backend.dtype("float64")


@pytest.mark.backends("cupy")
def test_an_array_on_the_second_gpu_is_cast_on_that_gpu(backend, device_counters):
    with_two_gpus(
        """
        from dlskills import backend_of, get_backend, to_host

        second = get_backend("cuda:1")
        array = second.asarray(second.asarray([1, 2], "float32"), "float64")
        assert backend_of(array) == second != get_backend("cuda")
        assert to_host(array).tolist() == [1, 2]
        """
    )


@pytest.mark.parametrize("name", ["float23", "", "no such"])
def test_an_unknown_dtype_is_rejected(backend, name):
    with pytest.raises(ValueError, match=f"dtype '{name}' is not known to {backend.name}"):
        backend.dtype(name)


def test_synchronize_returns_after_pending_work(backend):
    array = backend.zeros((100,), "float32")
    array += 1
    backend.synchronize()

    assert to_host(array).sum() == 100


def test_copies_and_pickles_of_a_backend_are_equal(backend):
    assert copy.copy(backend) == copy.deepcopy(backend) == backend
    assert copy.deepcopy([backend])[0] is backend
    again = pickle.loads(pickle.dumps(backend))
    assert again == backend
    assert backend_of(again.zeros((2,), "float32")) == backend


# Transfers


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(2, 3), (), (0, 2)])
def test_values_survive_the_round_trip(backend, dtype, shape):
    values = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    there = backend.asarray(values)
    here = to_host(there)

    assert backend_of(there) == backend
    assert type(here) is np.ndarray
    assert here.dtype == values.dtype
    np.testing.assert_array_equal(here, values)


def test_to_device_moves_between_libraries(backend):
    there = to_device(np.asarray([1.0, 2.0]), backend.device, backend.xp)

    assert backend_of(there) == backend
    back = to_device(there, "cpu")
    assert type(back) is np.ndarray
    assert back.tolist() == [1, 2]


def test_to_host_does_not_copy_numpy_arrays():
    array = np.zeros(3)

    assert to_host(array) is array


def test_to_host_accepts_numbers_and_sequences(backend):
    zero, one = backend.asarray(0.0), backend.asarray(1.0)

    assert to_host(3.5) == 3.5
    assert to_host([1, 2]).tolist() == [1, 2]
    assert to_host([]).tolist() == []
    for sequence in ([zero, one], (zero, one)):
        assert to_host(sequence).tolist() == [0, 1]


@pytest.mark.parametrize(
    "change", [lambda x: x[::-1], lambda x: x[:, ::-1], lambda x: x.astype(">f4"), lambda x: x.T]
)
def test_asarray_accepts_any_numpy_memory_layout(backend, change):
    host = change(np.arange(6, dtype=np.float32).reshape(2, 3))
    array = backend.asarray(host, "float32")

    assert array.dtype == backend.dtype("float32")
    np.testing.assert_array_equal(to_host(array), host)


@pytest.mark.backends("torch")
def test_to_host_widens_bfloat16(backend):
    back = to_host(backend.asarray([1.5, -2.0], "bfloat16"))

    assert back.dtype == np.float32
    assert back.tolist() == [1.5, -2.0]


@pytest.mark.backends("torch")
def test_to_host_of_a_tensor_that_requires_a_gradient(backend):
    import torch

    assert to_host(torch.ones(2, requires_grad=True)).tolist() == [1, 1]


# Queries about an array


def test_namespace_backend_and_device_of_an_array(backend):
    array = backend.zeros((2,), "float32")

    assert namespace(array) is backend.xp
    assert backend_of(array) == backend
    beside = backend.xp.zeros(2, device=device_of(array))
    assert backend_of(beside) == backend


@pytest.mark.parametrize("array", [np.zeros(2), np.float32(1), np.zeros(())])
def test_numpys_arrays_use_numpy_itself(array):
    assert namespace(array) is np
    assert backend_of(array) is get_backend()


@pytest.mark.parametrize("value", [1.0, [1.0], None, "array", {}])
def test_namespace_rejects_values_that_are_not_arrays(value):
    message = f"expected an array .*, got a {type(value).__name__}. Create one with numpy.asarray"
    with pytest.raises(TypeError, match=message):
        namespace(value)


def test_check_array_accepts_an_array_on_the_backend(backend):
    check_array("x", backend.zeros((2,), "float32"), backend)


@pytest.mark.parametrize("value", [1.0, [1.0], None])
def test_check_array_rejects_values_that_are_not_arrays(backend, value):
    message = f"^x must be an array on .*, got a {type(value).__name__}$"
    with pytest.raises(TypeError, match=message):
        check_array("x", value, backend)


@ELSEWHERE
def test_check_array_rejects_an_array_on_another_backend(backend):
    there, here = backend.zeros((2,), "float32"), np.zeros(2)
    message = r"^x must be on .*, got an array on cpu \(NumPy\)\. Move it .*backend.asarray"
    with pytest.raises(TypeError, match=message):
        check_array("x", here, backend)
    message = r"^x must be on cpu \(NumPy\), got an array on .*\. Move it .*to_host\(...\)"
    with pytest.raises(TypeError, match=message):
        check_array("x", there, get_backend())


@pytest.mark.backends("strict")
def test_check_array_rejects_another_device_of_the_same_library(backend):
    with pytest.raises(TypeError, match=r"^x must be on .*device1.*, got .* on .*CPU_DEVICE"):
        check_array("x", backend.xp.zeros(2), backend)


def test_backend_arrays_are_array_api_arrays(backend):
    assert array_api_compat.is_array_api_obj(backend.zeros((1,), "float32"))


def test_a_backend_that_is_missing_is_opened_as_numpy(monkeypatch):
    rebuild, arguments = get_backend("cpu").__reduce__()
    assert rebuild(*arguments) == get_backend("cpu")
    monkeypatch.setitem(sys.modules, "array_api_strict", None)
    for missing in (("array_api_strict", "cpu", None), ("cupy", None, 99)):
        with pytest.warns(UserWarning, match="is opened on NumPy, as .* is not available here"):
            assert rebuild(*missing) == get_backend("cpu")
