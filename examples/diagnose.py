"""Diagnose networks that do not learn: a monitor names the problem and the layer."""

from pathlib import Path

from dlskills import MultiLayerNet, Trainer, load_mnist
from dlskills.diagnostics import Monitor
from dlskills.plotting import save_figure

train, test = load_mnist(subset="sample")


def diagnose(name, activation, weight_init_std, optimizer="sgd", lr=0.1):
    network = MultiLayerNet(784, [100] * 4, 10, activation, weight_init_std, seed=0)
    monitor = Monitor(network, every=20)
    Trainer(
        network, *train, *test, epochs=2, optimizer=optimizer, optimizer_param={"lr": lr},
        monitor=monitor, verbose=False, evaluate_sample_num_per_epoch=1000,
    ).train()  # fmt: skip
    print(f"{name}: accuracy {network.accuracy(*test):.0%}")
    for warning in monitor.warnings() or ["no warnings"]:
        print(f"  - {warning}")
    return monitor


monitor = diagnose("ReLU, He", "relu", "he")
diagnose("sigmoid, standard deviation 1", "sigmoid", 1.0)
diagnose("sigmoid, standard deviation 0.01", "sigmoid", 0.01)
diagnose("ReLU, learning rate too high", "relu", "he", "adam", lr=0.1)

folder = Path("results")
folder.mkdir(exist_ok=True)
for name, figure in monitor.plot().items():
    for path in save_figure(figure, folder, f"diagnose-{name}"):
        print(f"wrote {path}")
