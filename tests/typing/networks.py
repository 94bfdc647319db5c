"""Types of layers, networks and the trainer."""

from typing import Any, assert_type

from dlskills import (
    Affine,
    Backend,
    Declared,
    Layer,
    MultiLayerNet,
    Optimizer,
    Parameters,
    ReLU,
    Sequential,
    Trainer,
    initializers,
    load_mnist,
    namespace,
)


class Scale(Layer):
    def __init__(self, size: int) -> None:
        self.size = size
        self.x: Any = None

    def declare(self) -> dict[str, Declared]:
        return {"a": Declared((self.size,), initializers.constant(1.0))}

    def forward(self, x: Any, train_flg: bool = True) -> Any:
        self.x = x
        return x * self.params["a"]

    def backward(self, dout: Any) -> Any:
        self.grads["a"][...] = namespace(dout).sum(dout * self.x, axis=0)
        return dout * self.params["a"]


scale = Scale(50)
assert_type(scale.size, int)
assert_type(scale.output_shape((50,)), tuple[int, ...])
scale.width  # type: ignore[attr-defined]  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]
Affine(784)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

network = Sequential([Affine(784, 50), Scale(50), ReLU(), Affine(50, 10)], seed=0)
assert_type(network.layers, list[Layer])

(x_train, t_train), (x_test, t_test) = load_mnist(subset="sample")
tutorial = MultiLayerNet(784, [100, 100], 10, device="cpu")
assert_type(tutorial.params, Parameters)
assert_type(tutorial.grads, Parameters)
assert_type(tutorial.backend, Backend)
assert_type(tutorial.gradient(x_train, t_train), Parameters)
assert_type(tutorial.loss_and_gradient(x_train, t_train), tuple[Any, Parameters])
assert_type(tutorial.accuracy(x_test, t_test), float)

trainer = Trainer(tutorial, x_train, t_train, x_test, t_test, epochs=1)
assert_type(trainer.train_loss_list, list[float])
assert_type(trainer.optimizer, Optimizer)
