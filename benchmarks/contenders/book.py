"""The formulation of the book and the tutorial: float64 weights in a dict, one array at a time.

Rewritten, with the same computations and precisions: in a train step weights are float64 and images
float32, so all results are float64. Tasks of updates use float32 arrays, as for every contender.
Softmax and cross entropy with 1e-7 in the logarithm; Adam with a new array per operation. With
`decay`, the terms of weight decay are computed, which the book's network does in every step even if
lambda is 0.
"""

import itertools
import math
from typing import Any

import numpy as np

from benchmarks.contenders import Work
from benchmarks.tasks import TrainStep, Update

Arrays = dict[str, np.ndarray]


class Affine:
    def __init__(self, w: np.ndarray, b: np.ndarray) -> None:
        self.w, self.b = w, b

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x = x
        return np.dot(x, self.w) + self.b

    def backward(self, dout: np.ndarray) -> np.ndarray:
        dx = np.dot(dout, self.w.T)
        self.dw = np.dot(self.x.T, dout)
        self.db = np.sum(dout, axis=0)
        return dx


class Relu:
    def forward(self, x: np.ndarray) -> np.ndarray:
        self.off = x <= 0
        out = x.copy()
        out[self.off] = 0
        return out

    def backward(self, dout: np.ndarray) -> np.ndarray:
        dout[self.off] = 0
        return dout


class SoftmaxWithLoss:
    def forward(self, x: np.ndarray, t: np.ndarray) -> Any:
        self.t = t
        exps = np.exp(x - np.max(x, axis=-1, keepdims=True))
        self.y = exps / np.sum(exps, axis=-1, keepdims=True)
        return -np.sum(np.log(self.y[np.arange(len(t)), t] + 1e-7)) / len(t)

    def backward(self) -> np.ndarray:
        dx = self.y.copy()
        dx[np.arange(len(self.t)), self.t] -= 1
        return dx / len(self.t)


class Adam:
    def __init__(self, lr: float = 0.001, beta1: float = 0.9, beta2: float = 0.999) -> None:
        self.lr, self.beta1, self.beta2, self.count = lr, beta1, beta2, 0
        self.m: Arrays = {}
        self.v: Arrays = {}

    def update(self, params: Arrays, grads: Arrays) -> None:
        if not self.m:
            self.m = {key: np.zeros_like(param) for key, param in params.items()}
            self.v = {key: np.zeros_like(param) for key, param in params.items()}
        self.count += 1
        rate = self.lr * math.sqrt(1 - self.beta2**self.count) / (1 - self.beta1**self.count)
        for key in params:
            self.m[key] += (1 - self.beta1) * (grads[key] - self.m[key])
            self.v[key] += (1 - self.beta2) * (grads[key] ** 2 - self.v[key])
            params[key] -= rate * self.m[key] / (np.sqrt(self.v[key]) + 1e-7)


def train_step(task: TrainStep, device: str, decay: bool = False) -> Work:
    params = task.weights()
    count = len(task.sizes) - 1
    affines = [Affine(params[f"W{i}"], params[f"b{i}"]) for i in range(1, count + 1)]
    layers: list[Any] = [affines[0]]
    for affine in affines[1:]:
        layers += [Relu(), affine]
    loss_layer, optimizer = SoftmaxWithLoss(), Adam()
    x_train, t_train = task.data()
    batches = itertools.cycle(list(task.batches()))
    last = None

    def step() -> None:
        nonlocal last
        indices = next(batches)
        x, t = x_train[indices], t_train[indices]
        for layer in layers:
            x = layer.forward(x)
        last = loss_layer.forward(x, t)
        if decay:
            last += sum(0.5 * 0 * np.sum(affine.w**2) for affine in affines)
        dout = loss_layer.backward()
        for layer in reversed(layers):
            dout = layer.backward(dout)
        grads = {}
        for i, affine in enumerate(affines, start=1):
            grads[f"W{i}"] = affine.dw + 0 * affine.w if decay else affine.dw
            grads[f"b{i}"] = affine.db
        optimizer.update(params, grads)

    return step, lambda: {"loss": last}


def update(task: Update, device: str) -> Work:
    params, grads, optimizer = task.params(), task.grads(), Adam()
    return lambda: optimizer.update(params, grads), lambda: task.result(params.values())
