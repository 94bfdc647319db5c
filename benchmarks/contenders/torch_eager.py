"""PyTorch in eager mode, with one of the forms of its Adam."""

import itertools

import torch

from benchmarks.contenders import Work
from benchmarks.tasks import SIZES, TrainStep, Update


def train_step(task: TrainStep, **form: bool) -> Work:
    layers: list[torch.nn.Module] = []
    for rows, columns in itertools.pairwise(SIZES):
        layers += [torch.nn.Linear(rows, columns), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers[:-1])
    weights = {name: torch.from_numpy(w).float() for name, w in task.weights().items()}
    with torch.no_grad():
        for i, layer in enumerate(network[::2], start=1):
            layer.weight.copy_(weights[f"W{i}"].T)
            layer.bias.copy_(weights[f"b{i}"])
    cross_entropy = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001, eps=1e-7, **form)
    x_train, t_train = map(torch.from_numpy, task.data())
    batches = itertools.cycle(list(torch.from_numpy(task.batches())))
    last = None

    def step() -> None:
        nonlocal last
        indices = next(batches)
        x, t = torch.index_select(x_train, 0, indices), torch.index_select(t_train, 0, indices)
        optimizer.zero_grad()
        last = cross_entropy(network(x), t)
        last.backward()
        optimizer.step()

    return step, lambda: last.detach().numpy()


def update(task: Update, **form: bool) -> Work:
    params = [torch.from_numpy(p).requires_grad_() for p in task.params().values()]
    for param, grad in zip(params, task.grads().values(), strict=True):
        param.grad = torch.from_numpy(grad)
    optimizer = torch.optim.Adam(params, lr=0.001, eps=1e-7, **form)

    def result() -> object:
        return torch.cat([p.detach().ravel()[:1000] for p in params])[:1000].numpy()

    return optimizer.step, result
