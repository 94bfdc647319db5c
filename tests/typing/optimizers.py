"""Types of optimizers: constructors know their hyperparameters, also those of your own rules."""

from types import ModuleType
from typing import Any, assert_type

import numpy as np

from dlskills import Adam, Momentum, Optimizer, Parameters, engine, make_optimizer, schedules

adam = Adam(lr=schedules.Warmup(100, schedules.CosineDecay(0.001, steps=2000)), clip_norm=1.0)
assert_type(adam, Adam)
assert_type(adam.beta1, float)
assert_type(adam.clip_norm, float | None)
assert_type(adam.state_dict(), dict[str, Any])
assert_type(make_optimizer("adam"), Optimizer)

momentum = Momentum(momentum=schedules.Linear(0.5, 0.99, steps=1000), clip_norm=lambda step: 1.0)
assert_type(momentum.momentum, float)
momentum.momentum = schedules.Linear(0.5, 0.9, steps=10)

Adam(learning=0.1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Adam(beta1="0.9")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

params = Parameters({"w": np.ones(3)})
adam.update(params, params.zeros_like())
adam.update({"w": np.ones(3)}, {"w": np.ones(3)})
numbers: dict[str, float] = {"w": 1.0}
adam.update(numbers, numbers)
adam.update(np.ones(3), np.ones(3))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class SignMomentum(Optimizer):
    lr: float = 0.001
    momentum: float = 0.9
    slots = ("v",)

    def coefficients(self, step: int) -> tuple[float, ...]:
        return self.lr, self.momentum

    @staticmethod
    def rule(xp: ModuleType) -> Any:
        def update(param: Any, grad: Any, v: Any, lr: float, momentum: float) -> Any:
            v *= momentum
            v += grad
            param -= lr * xp.sign(v)
            return param, v

        return update


own = SignMomentum(0.01, momentum=0.8, weight_decay=0.01)
assert_type(own.momentum, float)
SignMomentum(momentun=0.8)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

with engine("plain"):
    own.update(params, params)
