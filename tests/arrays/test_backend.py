"""Where arrays live: naming a place, moving there and back, and what is refused."""

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


# Naming a place


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


def test_numpy_by_another_name_is_numpy_itself():
    import array_api_compat.numpy as compat

    assert get_backend(xp=compat) is get_backend("cpu", xp=compat) is get_backend()


def test_a_backend_is_found_again_by_what_it_holds(backend):
    assert get_backend(backend.device, backend.xp) == backend
    assert backend != get_backend() or backend.name == "numpy"


@pytest.mark.backends("strict")
def test_a_device_of_another_library_by_name(backend):
    import array_api_strict

    assert get_backend("device1", array_api_strict) == backend
    assert get_backend(xp=array_api_strict).device == array_api_strict.Device("CPU_DEVICE")
    assert get_backend(xp=array_api_strict) != backend
    with pytest.raises(DeviceError, match="device 'device7' is not known to array_api_strict; it"):
        get_backend("device7", array_api_strict)


@pytest.mark.backends("torch")
def test_torch_by_its_own_namespace(backend):
    import torch

    assert get_backend("cpu", torch) == backend
    assert backend.name == "torch"
    assert backend.xp.__name__ == "array_api_compat.torch"
    with pytest.raises(DeviceError, match="device 'cuda:99' is not known to torch; it has: "):
        get_backend("cuda:99", torch)


@pytest.mark.backends("cupy")
def test_cupy_by_every_name(backend):
    import cupy

    places = [("cuda", None), ("cuda:0", None), (None, cupy), ("cuda", cupy), ("cuda", backend.xp)]
    for device, xp in [*places, (cupy.cuda.Device(0), cupy)]:
        assert get_backend(device, xp) == backend
    assert str(backend) == "cuda:0 (CuPy)"
    with pytest.raises(ValueError, match="device must be 'cuda' or 'cuda:N' for CuPy, got 'cpu'"):
        get_backend("cpu", cupy)


@pytest.mark.backends("cupy")
def test_a_gpu_that_does_not_exist_is_refused(backend):
    with pytest.raises(DeviceError, match="device 'cuda:99' does not exist; this machine has: 'cu"):
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
def test_a_device_of_no_known_name_is_refused(device, hint):
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        get_backend(device)
    assert str(refused.value) == f"device must be 'cpu', 'cuda' or 'cuda:N', got {device!r}{hint}"


def test_numpy_has_no_gpu():
    with pytest.raises(ValueError, match="device must be 'cpu' for NumPy, got 'cuda'"):
        get_backend("cuda", np)


@pytest.mark.parametrize("xp", ["numpy", sys, np.zeros(2)], ids=["name", "module", "array"])
def test_what_is_no_namespace_is_refused(xp):
    with pytest.raises(ValueError, match="xp must be a namespace of the Array API standard, got"):
        get_backend(xp=xp)


def fake_cupy(monkeypatch, count, driver=0, is_hip=False):
    """A CuPy for CUDA 12.9 or for ROCm, whose driver counts devices by `count()`."""

    class CUDARuntimeError(RuntimeError):
        pass

    runtime = types.SimpleNamespace(CUDARuntimeError=CUDARuntimeError, is_hip=is_hip)
    runtime.runtimeGetVersion = lambda: 12_090
    runtime.getDeviceCount = lambda: count(CUDARuntimeError)
    runtime.driverGetVersion = lambda: driver
    module = types.ModuleType("cupy")
    # which may be another: the toolkit that is found on the machine
    module.cuda = types.SimpleNamespace(runtime=runtime, get_local_runtime_version=lambda: 13_000)
    monkeypatch.setitem(sys.modules, "cupy", module)


def no_driver(error):
    raise error("cudaErrorInsufficientDriver: CUDA driver version is insufficient")


def test_no_cupy_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # as if it were not there
    command = re.escape(install_command("gpu"))
    message = rf"^device 'cuda:1' needs CuPy, which is not installed; .*: {command}$"
    with pytest.raises(DeviceError, match=message):
        get_backend("cuda:1")


def test_a_broken_cupy_says_why(monkeypatch, tmp_path):
    (tmp_path / "cupy.py").write_text("import no_such_library")
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DeviceError, match="CuPy, which fails to import: .*'no_such_library'"):
        get_backend("cuda")


def test_no_driver_says_what_to_do(monkeypatch):
    fake_cupy(monkeypatch, no_driver)
    message = r"^device 'cuda': CuPy finds no GPU to use \(cudaErrorInsu.*\); install or update the"
    with pytest.raises(DeviceError, match=message):
        get_backend("cuda")


def test_a_driver_too_old_says_what_it_knows(monkeypatch):
    fake_cupy(monkeypatch, no_driver, driver=11_080)
    message = (
        r"the NVIDIA driver is too old: it knows CUDA 11.8, and this CuPy needs 12.9 \(cudaErr"
    )
    with pytest.raises(DeviceError, match=message):
        get_backend("cuda")


def test_without_an_amd_gpu_nothing_of_nvidias_is_named(monkeypatch):
    fake_cupy(monkeypatch, no_driver, is_hip=True)
    with pytest.raises(DeviceError, match="AMD's driver and ROCm") as refused:
        get_backend("cuda")
    assert "nvidia" not in str(refused.value).lower()


@pytest.mark.parametrize(("count", "there"), [(2, "'cuda:0', 'cuda:1'"), (0, "none")])
def test_a_gpu_number_too_high_says_what_is_there(monkeypatch, count, there):
    fake_cupy(monkeypatch, lambda error: count)
    message = f"^device 'cuda:2' does not exist; this machine has: {there}$"
    with pytest.raises(DeviceError, match=message):
        get_backend("cuda:2")


# Arrays there


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_arrays_are_made_there(backend, dtype):
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


def test_an_array_that_is_there_stays_as_it_is(backend):
    array = backend.zeros((2,), "float32")

    assert backend.asarray(array) is array
    assert backend.asarray(array, "float32") is array
    assert backend.asarray(array, "float64").dtype == backend.dtype("float64")


@pytest.mark.backends("cupy")
def test_an_array_on_the_second_gpu_is_cast_there(backend, device_counters):
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
def test_an_unknown_dtype_is_refused(backend, name):
    with pytest.raises(ValueError, match=f"dtype '{name}' is not known to {backend.name}"):
        backend.dtype(name)


def test_synchronize_waits(backend):
    array = backend.zeros((100,), "float32")
    array += 1
    backend.synchronize()

    assert to_host(array).sum() == 100


def test_a_backend_is_one_place_however_copied(backend):
    assert copy.copy(backend) == copy.deepcopy(backend) == backend
    assert copy.deepcopy([backend])[0] is backend
    again = pickle.loads(pickle.dumps(backend))
    assert again == backend
    assert backend_of(again.zeros((2,), "float32")) == backend


# There and back


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


def test_to_host_leaves_numpys_arrays_as_they_are():
    array = np.zeros(3)

    assert to_host(array) is array


def test_to_host_takes_numbers_too(backend):
    zero, one = backend.asarray(0.0), backend.asarray(1.0)

    assert to_host(3.5) == 3.5
    assert to_host([1, 2]).tolist() == [1, 2]
    assert to_host([]).tolist() == []
    for sequence in ([zero, one], (zero, one)):
        assert to_host(sequence).tolist() == [0, 1]


@pytest.mark.parametrize(
    "change", [lambda x: x[::-1], lambda x: x[:, ::-1], lambda x: x.astype(">f4"), lambda x: x.T]
)
def test_arrays_of_numpy_may_lie_in_memory_in_any_way(backend, change):
    host = change(np.arange(6, dtype=np.float32).reshape(2, 3))
    array = backend.asarray(host, "float32")

    assert array.dtype == backend.dtype("float32")
    np.testing.assert_array_equal(to_host(array), host)


@pytest.mark.backends("torch")
def test_to_host_of_what_numpy_has_no_dtype_for(backend):
    back = to_host(backend.asarray([1.5, -2.0], "bfloat16"))

    assert back.dtype == np.float32
    assert back.tolist() == [1.5, -2.0]


@pytest.mark.backends("torch")
def test_to_host_of_a_tensor_that_requires_a_gradient(backend):
    import torch

    assert to_host(torch.ones(2, requires_grad=True)).tolist() == [1, 1]


# Asking an array


def test_an_array_knows_its_place(backend):
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
def test_what_is_no_array_has_no_namespace(value):
    message = f"expected an array .*, got a {type(value).__name__}; make one with numpy.asarray"
    with pytest.raises(TypeError, match=message):
        namespace(value)


def test_check_array_passes_what_is_there(backend):
    check_array("x", backend.zeros((2,), "float32"), backend)


@pytest.mark.parametrize("value", [1.0, [1.0], None])
def test_check_array_refuses_what_is_no_array(backend, value):
    message = f"^x must be an array on .*, got a {type(value).__name__}$"
    with pytest.raises(TypeError, match=message):
        check_array("x", value, backend)


@ELSEWHERE
def test_check_array_refuses_an_array_from_elsewhere(backend):
    there, here = backend.zeros((2,), "float32"), np.zeros(2)
    with pytest.raises(TypeError, match=r"^x is on cpu \(NumPy\), expected on .*backend.asarray"):
        check_array("x", here, backend)
    with pytest.raises(
        TypeError, match=r"^x is on .*, expected on cpu \(NumPy\); .*to_host\(...\)"
    ):
        check_array("x", there, get_backend())


@pytest.mark.backends("strict")
def test_check_array_refuses_another_device_of_the_same_library(backend):
    with pytest.raises(TypeError, match=r"^x is on .*CPU_DEVICE.*, expected on .*device1"):
        check_array("x", backend.xp.zeros(2), backend)


def test_compat_and_ours_agree_on_what_an_array_is(backend):
    assert array_api_compat.is_array_api_obj(backend.zeros((1,), "float32"))
