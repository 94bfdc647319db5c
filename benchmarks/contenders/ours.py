"""dlskills, with all parameters in one buffer."""

import itertools

import dlskills
from benchmarks.contenders import Work
from benchmarks.tasks import SIZES, TrainStep, Update


def train_step(task: TrainStep, engine: str) -> Work:
    network = dlskills.MultiLayerNet(SIZES[0], SIZES[1:-1], SIZES[-1], seed=0)
    for name, values in task.weights().items():
        network.params[name] = values
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
        with dlskills.engine(engine):
            optimizer.update(network.params, grads)

    return step, lambda: dlskills.to_host(last)


def update(task: Update, engine: str) -> Work:
    params, grads = dlskills.Parameters(task.params()), dlskills.Parameters(task.grads())
    optimizer = dlskills.Adam()

    def step() -> None:
        with dlskills.engine(engine):
            optimizer.update(params, grads)

    return step, lambda: params.flat[:1000]
