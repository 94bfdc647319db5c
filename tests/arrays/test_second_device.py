"""A network on a GPU other than the current one does all of its work on that GPU."""

import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.backends("cupy")

START = """
import sys
sys.path.insert(0, {tests!r})
import cupy_stand_in
cupy_stand_in.activate({build!r})
import cupy
from dlskills import Adam, MultiLayerNetExtend, Trainer, load_mnist
from dlskills.experiments import Settings, hyperparameters

(x, t), (x_test, t_test) = load_mnist(subset="sample")
network = MultiLayerNetExtend(
    784, [8], 10, device="cuda:1", weight_decay_lambda=0.1, use_batchnorm=True, use_dropout=True,
    **{options},
)
"""
TRAINING = """
from dlskills.diagnostics import Monitor
data = x[:300], t[:300], x_test[:100], t_test[:100]
for on_device in (True, False):
    trainer = Trainer(
        network, *data, epochs=2, optimizer="adam", optimizer_param={"lr": 0.001}, verbose=False,
        data_on_device=on_device, monitor=Monitor(network, every=2),
    )
    trainer.train()
x, t = network.backend.asarray(x[:2]), network.backend.asarray(t[:2])
assert network.gradient(x, t).flat.device.id == network.loss(x, t).device.id == 1
assert network.penalty().device.id == 1
before = cupy.asnumpy(network.params.flat)
with cupy.cuda.Device(1):
    twice = {name: 2 * param for name, param in network.params.items()}
    double = 2 * network.params.flat.astype("float64")
network.params = twice
assert (cupy.asnumpy(network.params.flat) == 2 * before).all()
network.params.flat = double
network.params["W1"] = [[0.0] * 8] * 784
copied = network.params.copy()
assert (cupy.asnumpy(copied.flat) == cupy.asnumpy(network.params.flat)).all()
"""
REJECTIONS = """
import numpy as np
from dlskills import SGD, MultiLayerNet, Parameters, get_backend

first = MultiLayerNet(784, [8], 10, device="cuda:0")
elsewhere = {"cuda:0": first.backend, "cpu": get_backend("cpu")}

def rejects(work, *words):
    try:
        work()
    except TypeError as error:
        assert all(word in str(error) for word in words), error
    else:
        raise AssertionError("not rejected")

for name, other in elsewhere.items():
    x_there, t_there = other.asarray(x[:2]), other.asarray(t[:2])
    x_here, t_here = network.backend.asarray(x[:2]), network.backend.asarray(t[:2])
    rejects(lambda: network.predict(x_there), "x must be on", name, "cuda:1", "asarray")
    rejects(lambda: network.loss(x_here, t_there), "t must be on", name, "cuda:1", "asarray")
    rejects(lambda: network.gradient(x_there, t_here), "x must be on", name, "cuda:1", "asarray")
rejects(lambda: SGD().update(network.params, Parameters(
    {key: first.backend.zeros(value.shape, "float32") for key, value in network.params.items()}
)), "cuda:0", "cuda:1")
rejects(lambda: network.params.__setitem__("b1", first.params["b1"]), "cuda:1", "cuda:0")
rejects(lambda: setattr(network.params, "flat", first.params.flat), "cuda:1", "cuda:0")
"""
OTHERS = """
settings = Settings(device="cuda:1", verbose=False)
params = {"lr": 0.01, "weight_decay": 1e-6}
seen = []
hyperparameters.train(
    settings, 0, params, hyperparameters.digits(settings), 1, lambda *found: seen.append(found)
)
assert seen[0][1].device.id == 1

import pickle
other = pickle.loads(pickle.dumps(network))
assert other.params.flat.device.id == other.layers[1].running_mean.device.id == 1
x = network.backend.asarray(x[:2])
assert (cupy.asnumpy(other.predict(x)) == cupy.asnumpy(network.predict(x))).all()

from dlskills import numerical_gradient
param = network.backend.asarray([1.0, 2.0])
(gradient,) = numerical_gradient(lambda: param.sum(), {"w": param}).values()
assert gradient.device.id == 1
"""


@pytest.mark.parametrize(
    ("options", "work"),
    [({}, TRAINING), ({"compute_dtype": "float16"}, TRAINING), ({}, OTHERS), ({}, REJECTIONS)],
    ids=["training", "training in half precision", "others", "arrays from elsewhere"],
)
def test_all_work_runs_on_the_second_device(backend, device_counters, run_python, options, work):
    """CuPy warns about work on a device that is not current; here this is an error."""
    tests, build = str(Path(__file__).parent.parent), os.environ["DLSKILLS_HIPEMU_BUILD"]
    code = START.format(tests=tests, build=build, options=options) + work + "\nprint('done')"
    assert run_python(code, HIPEMU_DEVICES="2") == ["done"]
