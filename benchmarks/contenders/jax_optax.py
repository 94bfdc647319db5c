"""JAX with optax: each step is one function under jit, which donates its old arrays."""

import functools
import itertools
from typing import Any

import jax
import numpy as np
import optax

from benchmarks.contenders import Work
from benchmarks.tasks import TrainStep, Update


def update(task: Update, device: str) -> Work:
    params, grads = jax.device_put(task.params()), jax.device_put(task.grads())
    optimizer = optax.adam(0.001, eps=1e-7)
    state = optimizer.init(params)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def updated(params: Any, state: Any, grads: Any) -> Any:
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(params, updates), state

    def step() -> None:
        nonlocal params, state
        params, state = jax.block_until_ready(updated(params, state, grads))

    # jit returns a dict sorted by name
    return step, lambda: task.result(np.asarray(params[name]) for name in task.shapes)


def train_step(task: TrainStep, device: str) -> Work:
    count = len(task.sizes) - 1
    params = jax.device_put({k: w.astype(np.float32) for k, w in task.weights().items()})
    x_train, t_train = map(jax.device_put, task.data())
    batches = itertools.cycle([jax.device_put(i.astype(np.int32)) for i in task.batches()])
    optimizer = optax.adam(0.001, eps=1e-7)
    state = optimizer.init(params)
    last = None

    def loss_of(params: Any, x: jax.Array, t: jax.Array) -> jax.Array:
        for i in range(1, count):
            x = jax.nn.relu(x @ params[f"W{i}"] + params[f"b{i}"])
        scores = x @ params[f"W{count}"] + params[f"b{count}"]
        return optax.softmax_cross_entropy_with_integer_labels(scores, t).mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def trained(params: Any, state: Any, x_train: Any, t_train: Any, indices: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(params, x_train[indices], t_train[indices])
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(params, updates), state, loss

    def step() -> None:
        nonlocal params, state, last
        params, state, last = jax.block_until_ready(
            trained(params, state, x_train, t_train, next(batches))
        )

    return step, lambda: {"loss": np.asarray(last)}
