"""Reference update rules, written as in the papers and the book, and those of PyTorch.

Each reference is a generator that takes the parameter and its gradients in float64 and yields the
parameter after each step.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dlskills import to_host
from dlskills.arrays.backend import Backend

STEPS = 12
START = np.random.default_rng(0).standard_normal(6)
GRADIENTS = np.random.default_rng(1).standard_normal((STEPS, 6)) * [1, 1, 30, 1e-3, 0, 1]
GRADIENTS[3:6, 5] = 0

Trajectory = Iterator[Any]


def sgd(w, gradients, lr) -> Trajectory:
    for g in gradients:
        w = w - lr * g
        yield w


def momentum(w, gradients, lr, momentum) -> Trajectory:
    v = 0
    for g in gradients:
        v = momentum * v - lr * g
        w = w + v
        yield w


def nesterov(w, gradients, lr, momentum) -> Trajectory:
    """Nesterov momentum in its original two steps, with the gradient at the look-ahead point."""
    v, real = 0, w
    for g in gradients:  # the gradient at w = real + momentum * v
        v = momentum * v - lr * g
        real = real + v
        w = real + momentum * v
        yield w


def adagrad(w, gradients, lr, epsilon=1e-7, initial_accumulator=0.0) -> Trajectory:
    h = initial_accumulator
    for g in gradients:
        h = h + g**2
        w = w - lr * g / (np.sqrt(h) + epsilon)
        yield w


def rmsprop(w, gradients, lr, decay_rate, epsilon=1e-7, centered=False, momentum=0.0) -> Trajectory:
    h = mean = v = 0
    for g in gradients:
        h = decay_rate * h + (1 - decay_rate) * g**2
        mean = decay_rate * mean + (1 - decay_rate) * g
        root = np.sqrt(np.maximum(h - mean**2, 0)) if centered else np.sqrt(h)
        v = momentum * v - lr * g / (root + epsilon)
        w = w + v
        yield w


def adadelta(w, gradients, lr, rho, epsilon) -> Trajectory:
    h = d = 0
    for g in gradients:
        h = rho * h + (1 - rho) * g**2
        step = -np.sqrt(d + epsilon) / np.sqrt(h + epsilon) * g
        d = rho * d + (1 - rho) * step**2
        w = w + lr * step
        yield w


def adam(
    w, gradients, lr, beta1, beta2, epsilon=1e-7, epsilon_mode="tutorial", bias_correction=True
) -> Trajectory:
    m = v = 0
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        if not bias_correction:
            w = w - lr * m / (np.sqrt(v) + epsilon)
        elif epsilon_mode == "paper":
            w = w - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + epsilon)
        else:
            w = w - lr * np.sqrt(1 - beta2**t) / (1 - beta1**t) * m / (np.sqrt(v) + epsilon)
        yield w


def adamw(w, gradients, lr, beta1, beta2, epsilon, weight_decay) -> Trajectory:
    m = v = 0
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        step = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + epsilon)
        w = w - lr * (step + weight_decay * w)
        yield w


def amsgrad(w, gradients, lr, beta1, beta2, epsilon, bias_correction=True) -> Trajectory:
    m = v = largest = 0
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        largest = np.maximum(largest, v)
        if bias_correction:
            w = w - lr * m / (1 - beta1**t) / (np.sqrt(largest / (1 - beta2**t)) + epsilon)
        else:
            w = w - lr * m / (np.sqrt(largest) + epsilon)
        yield w


def nadam(w, gradients, lr, beta1, beta2, epsilon, momentum_decay) -> Trajectory:
    beta1_at = beta1 if callable(beta1) else lambda t: beta1

    def mu(t):
        return beta1_at(t) * (1 - 0.5 * 0.96 ** (t * momentum_decay))

    m = v = 0
    for t, g in enumerate(gradients, start=1):
        product = np.prod([mu(i) for i in range(1, t + 1)])
        m = beta1_at(t) * m + (1 - beta1_at(t)) * g
        v = beta2 * v + (1 - beta2) * g**2
        ahead = mu(t + 1) * m / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product)
        w = w - lr * ahead / (np.sqrt(v / (1 - beta2**t)) + epsilon)
        yield w


def adamax(w, gradients, lr, beta1, beta2, epsilon) -> Trajectory:
    m = u = 0
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        u = np.maximum(beta2 * u, abs(g) + epsilon)
        w = w - lr / (1 - beta1**t) * m / u
        yield w


def radam(w, gradients, lr, beta1, beta2, epsilon) -> Trajectory:
    m = v = 0
    longest = 2 / (1 - beta2) - 1
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        length = longest - 2 * t * beta2**t / (1 - beta2**t)
        mean = m / (1 - beta1**t)
        if length > 5:
            r = np.sqrt(
                (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            )
            w = w - lr * mean * r * np.sqrt(1 - beta2**t) / (np.sqrt(v) + epsilon)
        else:
            w = w - lr * mean
        yield w


def yogi(w, gradients, lr, beta1, beta2, epsilon, bias_correction=True) -> Trajectory:
    m = v = 0
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = v - (1 - beta2) * np.sign(v - g**2) * g**2
        first, second = (1 - beta1**t, 1 - beta2**t) if bias_correction else (1, 1)
        w = w - lr * (m / first) / (np.sqrt(v / second) + epsilon)
        yield w


def adan(w, gradients, lr, beta1, beta2, beta3, epsilon) -> Trajectory:
    m = d = n = 0
    previous = None
    for t, g in enumerate(gradients, start=1):
        change = 0 if previous is None else g - previous
        m = beta1 * m + (1 - beta1) * g
        d = beta2 * d + (1 - beta2) * change
        n = beta3 * n + (1 - beta3) * (g + beta2 * change) ** 2
        step = m / (1 - beta1**t) + beta2 * d / (1 - beta2**t)
        w = w - lr * step / (np.sqrt(n / (1 - beta3**t)) + epsilon)
        previous = g
        yield w


def lion(w, gradients, lr, beta1, beta2, weight_decay) -> Trajectory:
    m = 0
    for g in gradients:
        w = w - lr * (np.sign(beta1 * m + (1 - beta1) * g) + weight_decay * w)
        m = beta2 * m + (1 - beta2) * g
        yield w


_RMSPROP = {"lr": 0.1, "decay_rate": 0.5, "epsilon": 0.1}
_ADAM = {"lr": 0.05, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3}

# For each rule of the package, the reference and settings. The settings are far from the defaults,
# so that each hyperparameter matters.
RULES: dict[str, tuple[Callable[..., Trajectory], list[dict[str, Any]]]] = {
    "sgd": (sgd, [{"lr": 0.1}]),
    "momentum": (momentum, [{"lr": 0.1, "momentum": 0.7}, {"lr": 0.1, "momentum": 0}]),
    "nesterov": (nesterov, [{"lr": 0.1, "momentum": 0.7}, {"lr": 0.1, "momentum": 0}]),
    "adagrad": (
        adagrad,
        [{"lr": 0.3}, {"lr": 0.3, "initial_accumulator": 0.1}, {"lr": 0.3, "epsilon": 0.1}],
    ),
    "rmsprop": (
        rmsprop,
        [
            {"lr": 0.1, "decay_rate": 0.9},
            _RMSPROP | {"centered": True},
            _RMSPROP | {"momentum": 0.8},
            _RMSPROP | {"centered": True, "momentum": 0.8},
            _RMSPROP,
        ],
    ),
    "adadelta": (
        adadelta,
        [{"lr": 1.0, "rho": 0.95, "epsilon": 1e-6}, {"lr": 0.5, "rho": 0.7, "epsilon": 0.01}],
    ),
    "adam": (
        adam,
        [
            {"lr": 0.3, "beta1": 0.9, "beta2": 0.999},
            _ADAM,
            _ADAM | {"bias_correction": False},
            _ADAM | {"epsilon_mode": "paper"},
        ],
    ),
    "adamw": (adamw, [_ADAM | {"weight_decay": 0.1}, _ADAM | {"weight_decay": 0}]),
    "amsgrad": (amsgrad, [_ADAM | {"bias_correction": False}, _ADAM]),
    "nadam": (nadam, [_ADAM | {"momentum_decay": 0.1}, _ADAM | {"momentum_decay": 0.004}]),
    "adamax": (adamax, [_ADAM]),
    "radam": (radam, [_ADAM | {"beta2": 0.5}, _ADAM]),
    "yogi": (yogi, [_ADAM | {"bias_correction": False}, _ADAM | {"beta2": 0.93}]),
    "adan": (adan, [_ADAM | {"beta3": 0.9}]),
    "lion": (lion, [{"lr": 0.1, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.1}]),
}
CASES = [(name, settings) for name, (_, all_settings) in RULES.items() for settings in all_settings]


def reference(name: str, **settings: Any) -> np.ndarray:
    return np.stack(list(RULES[name][0](START, GRADIENTS, **settings)))


def trajectory(optimizer: Any, backend: Backend) -> np.ndarray:
    """Return the parameter after each step of one of the package's optimizers."""
    params = {"w": backend.asarray(START.copy())}
    steps = []
    for gradient in GRADIENTS:
        optimizer.update(params, {"w": backend.asarray(gradient)})
        steps.append(to_host(params["w"]).copy())
    return np.stack(steps)


def torch_trajectory(make: Callable[[Any, Any], Any]) -> np.ndarray:
    """Return the parameter after each step of the optimizer `make(torch.optim, params)`."""
    import torch

    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # also applies to NAdam's scalar state
    try:
        w = torch.tensor(START.copy(), requires_grad=True)
        optimizer, steps = make(torch.optim, [w]), []
        for gradient in GRADIENTS:
            w.grad = torch.tensor(gradient)
            optimizer.step()
            steps.append(w.detach().numpy().copy())
    finally:
        torch.set_default_dtype(default)
    return np.stack(steps)
