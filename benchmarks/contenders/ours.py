"""dlskills, with all parameters in one buffer or in a dict, on the default or a given engine."""

import contextlib
import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

import dlskills
from benchmarks.contenders import Work
from benchmarks.tasks import DROPOUT, NORMALIZATIONS, LayerPass, Result, TrainStep, Update


def update(
    task: Update,
    device: str,
    engine: str | None = None,
    container: Callable[..., Any] = dlskills.Parameters,
) -> Work:
    backend = dlskills.get_backend(device)
    params, grads = (
        container({name: backend.asarray(array) for name, array in arrays.items()})
        for arrays in (task.params(), task.grads())
    )
    optimizer = dlskills.make_optimizer(task.optimizer)

    def step() -> None:
        with _on(engine):
            optimizer.update(params, grads)

    return step, lambda: task.result(map(dlskills.to_host, params.values()))


def train_step(task: TrainStep, device: str) -> Work:
    network = _network(task, device, dropout=task.masked)
    optimizer = dlskills.Adam()
    xp = network.backend.xp
    x_train, t_train = map(network.backend.asarray, task.data())
    batches = itertools.cycle(list(network.backend.asarray(task.batches())))
    last = None

    def step() -> None:
        nonlocal last
        indices = next(batches)
        x, t = xp.take(x_train, indices, axis=0), xp.take(t_train, indices, axis=0)
        last, grads = network.loss_and_gradient(x, t)
        optimizer.update(network.params, grads)

    def masked_result() -> Result:
        unmasked = _network(task, device, dropout=False)
        batch = task.batches()[0]
        x, t, some = x_train[batch], t_train[batch], slice(1000)
        losses = [(step(), float(last))[1] for _ in range(20)]
        return task.masked_result(
            unmasked=float(unmasked.loss(x, t, train_flg=True)),
            losses=losses,
            evaluated=float(network.loss(x_train[some], t_train[some])),
            scores=[dlskills.to_host(network.predict(x, train_flg=True)) for _ in range(2)],
        )

    return step, masked_result if task.masked else lambda: {"loss": dlskills.to_host(last)}


def _network(task: TrainStep, device: str, dropout: bool) -> dlskills.MultiLayerNet:
    sizes = task.sizes[0], task.sizes[1:-1], task.sizes[-1]
    network = (
        dlskills.MultiLayerNetExtend(
            *sizes, use_batchnorm=True, use_dropout=dropout, dropout_ratio=DROPOUT,
            inverted_dropout=True, device=device, seed=0,
        )
        if task.masked
        else dlskills.MultiLayerNet(*sizes, device=device, seed=0)
    )  # fmt: skip
    for name, values in task.weights().items():
        network.params[name] = network.backend.asarray(values)
    return network


def layer(task: LayerPass, device: str) -> Work:
    made = _layer(task)
    backend = dlskills.get_backend(device)
    x, dout = map(backend.asarray, task.arrays())
    grads: Any = {}
    if values := task.params():
        params = dlskills.Parameters({k: backend.asarray(v) for k, v in values.items()})
        grads = params.zeros_like()
        made.bind(params, grads)
    inputs = (x, backend.asarray(task.labels())) if task.layer == "SoftmaxWithLoss" else (x,)
    backward_inputs = () if task.layer == "SoftmaxWithLoss" else (dout,)
    outputs = []

    def forward() -> None:
        outputs[:] = [made.forward(*inputs)]

    def both() -> None:
        y = made.forward(*inputs)
        outputs[:] = [y, made.backward(*backward_inputs)]

    step = both if task.backward else forward

    def work() -> list[np.ndarray]:
        step()
        arrays = [*outputs, *(grads.values() if task.backward else ())]
        return [np.array(dlskills.to_host(array)) for array in arrays]

    return step, lambda: task.result(work)


def _layer(task: LayerPass) -> Any:
    if task.layer == "Affine":
        return dlskills.Affine(task.width, task.width)
    if task.layer in NORMALIZATIONS:
        return getattr(dlskills, task.layer)(task.width)
    if task.layer == "Dropout":
        return dlskills.Dropout(0.5, inverted=True, seed=0)
    return getattr(dlskills, task.layer)()


def _on(engine: str | None) -> AbstractContextManager[None]:
    return dlskills.engine(engine) if engine else contextlib.nullcontext()
