"""PyTorch in eager mode with one form of its optimizers, or with a compiled network."""

import itertools
from typing import Any

import numpy as np
import torch

from benchmarks.contenders import Work
from benchmarks.tasks import DROPOUT, LayerPass, Result, TrainStep, Update

# With dlskills' defaults where PyTorch's differ.
OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "SGD": (torch.optim.SGD, {"lr": 0.01}),
    "Momentum": (torch.optim.SGD, {"lr": 0.01, "momentum": 0.9}),
    "Nesterov": (torch.optim.SGD, {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
    "AdaGrad": (torch.optim.Adagrad, {"lr": 0.01, "eps": 1e-7}),
    "RMSprop": (torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.99, "eps": 1e-7}),
    "AdaDelta": (torch.optim.Adadelta, {"lr": 1.0, "rho": 0.95, "eps": 1e-6}),
    "Adam": (torch.optim.Adam, {"lr": 0.001, "eps": 1e-7}),
    "AdamW": (torch.optim.AdamW, {"lr": 0.001, "weight_decay": 0.01}),
    "AMSGrad": (torch.optim.Adam, {"lr": 0.001, "amsgrad": True}),
    "NAdam": (torch.optim.NAdam, {"lr": 0.002}),
}


def update(task: Update, device: str, **form: bool) -> Work:
    params = [torch.tensor(p, device=device, requires_grad=True) for p in task.params().values()]
    for param, grad in zip(params, task.grads().values(), strict=True):
        param.grad = torch.tensor(grad, device=device)
    kind, settings = OPTIMIZERS[task.optimizer]
    optimizer = kind(params, **settings, **form)
    return optimizer.step, lambda: task.result(map(_to_host, params))


def train_step(task: TrainStep, device: str, compiled: bool = False, **form: bool) -> Work:
    network = _network(task, device, DROPOUT)
    cross_entropy = torch.nn.CrossEntropyLoss()

    def loss_of(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return cross_entropy(network(x), t)

    if compiled:
        loss_of = torch.compile(loss_of)
    kind, settings = OPTIMIZERS["Adam"]
    optimizer = kind(network.parameters(), **settings, **form)
    x_train, t_train = (torch.from_numpy(array).to(device) for array in task.data())
    batches = itertools.cycle(list(torch.from_numpy(task.batches()).to(device)))
    last = None

    def step() -> None:
        nonlocal last
        indices = next(batches)
        x, t = torch.index_select(x_train, 0, indices), torch.index_select(t_train, 0, indices)
        optimizer.zero_grad()
        last = loss_of(x, t)
        last.backward()
        optimizer.step()

    @torch.no_grad()
    def loss_by(network: torch.nn.Module, rows: Any) -> float:
        return cross_entropy(network(x_train[rows]), t_train[rows]).item()

    def masked_result() -> Result:
        batch = task.batches()[0]
        losses = [(step(), last.item())[1] for _ in range(20)]
        network.eval()
        evaluated = loss_by(network, slice(1000))
        network.train()
        return task.masked_result(
            unmasked=loss_by(_network(task, device, dropout=0.0), batch),
            losses=losses,
            evaluated=evaluated,
            scores=[_to_host(network(x_train[batch])) for _ in range(2)],
        )

    return step, masked_result if task.masked else lambda: {"loss": _to_host(last)}


def _network(task: TrainStep, device: str, dropout: float) -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for rows, columns in itertools.pairwise(task.sizes):
        layers.append(torch.nn.Linear(rows, columns))
        if task.masked:
            layers.append(torch.nn.BatchNorm1d(columns, eps=1e-6))
        layers.append(torch.nn.ReLU())
        if task.masked:
            layers.append(torch.nn.Dropout(dropout))
    last = max(i for i, layer in enumerate(layers) if isinstance(layer, torch.nn.Linear))
    network = torch.nn.Sequential(*layers[: last + 1])
    weights = {name: torch.from_numpy(w).float() for name, w in task.weights().items()}
    affine = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        for i, layer in enumerate(affine, start=1):
            layer.weight.copy_(weights[f"W{i}"].T)
            layer.bias.copy_(weights[f"b{i}"])
    return network.to(device)


def layer(task: LayerPass, device: str, **form: bool) -> Work:
    made = _layer(task).to(device)
    x, dout = (torch.from_numpy(array).to(device) for array in task.arrays())
    x.requires_grad_()
    inputs, backward_inputs = (x,), (dout,)
    if task.layer == "SoftmaxWithLoss":
        inputs, backward_inputs = (x, torch.from_numpy(task.labels()).to(device)), ()
    params = list(made.parameters())
    y: Any = None

    def forward() -> None:
        nonlocal y
        y = made(*inputs)

    def both() -> None:
        nonlocal y
        x.grad = None
        for param in params:
            param.grad = None
        y = made(*inputs)
        y.backward(*backward_inputs)

    step = both if task.backward else forward

    def work() -> list[np.ndarray]:
        step()
        tensors = [y]
        if task.backward:
            tensors += [x.grad, *(p.grad.T if p.ndim == 2 else p.grad for p in params)]
        return [np.array(_to_host(tensor)) for tensor in tensors]

    return step, lambda: task.result(work)


def _to_host(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def _layer(task: LayerPass) -> torch.nn.Module:
    values = [torch.from_numpy(array) for array in task.params().values()]
    made = {
        "Affine": lambda: torch.nn.Linear(task.width, task.width),
        "ReLU": torch.nn.ReLU,
        "LeakyReLU": torch.nn.LeakyReLU,
        "Sigmoid": torch.nn.Sigmoid,
        "Tanh": torch.nn.Tanh,
        "GELU": torch.nn.GELU,
        "BatchNormalization": lambda: torch.nn.BatchNorm1d(task.width, eps=1e-6),
        "LayerNormalization": lambda: torch.nn.LayerNorm(task.width, eps=1e-6),
        "RMSNormalization": lambda: torch.nn.RMSNorm(task.width, eps=1e-6),
        "Dropout": lambda: torch.nn.Dropout(0.5),
        "SoftmaxWithLoss": torch.nn.CrossEntropyLoss,
    }[task.layer]()
    with torch.no_grad():
        for param, value in zip(made.parameters(), values, strict=True):
            param.copy_(value.T if value.ndim == 2 else value)
    return made
