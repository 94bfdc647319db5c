"""An update rule of your own: hyperparameters, state and a formula that every engine runs."""

from dlskills import MultiLayerNet, Optimizer, Trainer, engine, load_mnist, schedules, to_host


class SignMomentum(Optimizer):
    """Move each parameter by the sign of its velocity."""

    lr: float = 0.001
    momentum: float = 0.9

    slots = ("v",)  # state: an array like each parameter, 0 at first

    def coefficients(self, step):
        return self.lr, self.momentum

    @staticmethod
    def rule(xp):
        def update(param, grad, v, lr, momentum):
            v *= momentum
            v += grad
            param -= lr * xp.sign(v)
            return param, v

        return update


(x_train, t_train), (x_test, t_test) = load_mnist(subset="sample")


def train(optimizer, epochs, verbose):
    network = MultiLayerNet(784, [100, 100], 10, seed=0)
    Trainer(
        network, x_train, t_train, x_test, t_test,
        epochs=epochs, optimizer=optimizer, verbose=verbose,
    ).train()  # fmt: skip
    return to_host(network.params.flat)


# Schedules, clipping and decoupled weight decay work as with the built-in rules, in the same pass
# over memory.
schedule = schedules.Warmup(50, schedules.CosineDecay(0.001, steps=250))
train(SignMomentum(lr=schedule, clip_norm=5.0, weight_decay=0.01), epochs=3, verbose=True)

# The engine "plain" runs the formula on whole arrays, the default engine fuses it. Both agree.
chosen = train(SignMomentum(), epochs=1, verbose=False)
with engine("plain"):
    plain = train(SignMomentum(), epochs=1, verbose=False)
print(f"largest difference between the engines after an epoch: {abs(chosen - plain).max():.1e}")
