"""The same network on a GPU: one argument. Without a GPU, the error says what is missing."""

from dlskills import DeviceError, MultiLayerNet, Trainer, load_mnist

(x_train, t_train), (x_test, t_test) = load_mnist(subset="sample")
try:
    network = MultiLayerNet(784, [100, 100], 10, seed=0, device="cuda")
except DeviceError as error:
    print(error)
    network = MultiLayerNet(784, [100, 100], 10, seed=0)

# the Trainer copies the data to the network's device once
Trainer(network, x_train, t_train, x_test, t_test, epochs=3, optimizer="momentum").train()
print(network.backend)
