"""Train a first network to read handwritten digits, in a few seconds."""

from dlskills import MultiLayerNet, Trainer, load_mnist

(x_train, t_train), (x_test, t_test) = load_mnist(subset="sample")

network = MultiLayerNet(784, [100, 100], 10, seed=0)
print(network.summary())

trainer = Trainer(
    network, x_train, t_train, x_test, t_test,
    epochs=5, mini_batch_size=100, optimizer="adam", optimizer_param={"lr": 0.001},
    evaluate="last",  # the tutorial evaluates after the first step of each epoch
)  # fmt: skip
trainer.train()
