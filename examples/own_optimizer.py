"""An update rule of your own: three things, and it runs wherever the arrays are."""

from dlskills import MultiLayerNet, Optimizer, Trainer, load_mnist


class SignMomentum(Optimizer):
    """Moves each parameter by the sign of its velocity."""

    lr: float = 0.0005
    momentum: float = 0.9

    slots = ("v",)  # one number remembered for each parameter, 0 at first

    def coefficients(self, step):
        return self.lr * 0.99**step, self.momentum

    @staticmethod
    def rule(xp):
        def update(param, grad, v, lr, momentum):
            v *= momentum
            v += grad
            param -= lr * xp.sign(v)
            return param, v

        return update


(x_train, t_train), (x_test, t_test) = load_mnist(subset="sample")
network = MultiLayerNet(784, [100, 100], 10, seed=0)
Trainer(
    network, x_train, t_train, x_test, t_test, epochs=3, optimizer=SignMomentum(lr=0.001)
).train()
