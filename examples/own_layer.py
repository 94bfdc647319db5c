"""A layer of your own: a learned factor per unit, in a network with built-in layers."""

from dlskills import (
    Affine,
    Declared,
    Layer,
    ReLU,
    Sequential,
    Trainer,
    initializers,
    load_mnist,
    namespace,
    relative_error,
)


class Scale(Layer):
    """Multiply each unit by a learned factor."""

    def __init__(self, size):
        self.size = size

    def declare(self):
        return {"a": Declared((self.size,), initializers.constant(1.0))}

    def forward(self, x, train_flg=True):
        self.x = x
        return x * self.params["a"]

    def backward(self, dout):
        self.grads["a"][...] = namespace(dout).sum(dout * self.x, axis=0)
        return dout * self.params["a"]


def build(size, **options):
    return Sequential([Affine(size, 50), Scale(50), ReLU(), Affine(50, 10)], seed=0, **options)


(x_train, t_train), (x_test, t_test) = load_mnist(subset="sample")

# check the backward pass against numerical differences, in float64 on a few samples
small = build(16, dtype="float64")
x, t = x_train[:8, 400:416], t_train[:8]
numerical = small.numerical_gradient(x, t)
for name, grad in small.gradient(x, t).items():
    print(f"{name}: relative error {relative_error(grad, numerical[name]):.1e}")

trainer = Trainer(build(784), x_train, t_train, x_test, t_test, epochs=3, optimizer="adam",
                  optimizer_param={"lr": 0.001})  # fmt: skip
trainer.train()
