"""Optimizers on MNIST: losses, tables and figures, from a few steps."""

import numpy as np
import pytest

from dlskills import Adam, MultiLayerNet, load_mnist, smooth_curve
from dlskills.arrays.random import stream
from dlskills.experiments import Settings, judge, optimizer_mnist
from dlskills.plotting import save_figure

FOUR = ["SGD", "Momentum", "AdaGrad", "Adam"]
SIX = ["sgd", "momentum", "nesterov", "adagrad", "RMSprop", "adam"]


def run(iterations, optimizers=FOUR, **settings):
    settings = Settings(verbose=False, **settings)
    return optimizer_mnist.run(settings, iterations=iterations, optimizers=optimizers)


def draw(numbers):
    (figure,) = optimizer_mnist.plot([numbers]).values()
    (axes,) = figure.axes
    return axes


@pytest.fixture(scope="module")
def numbers():
    return run(60)


def test_a_loss_for_each_step_of_each_method(numbers):
    assert set(numbers) == {"train_loss", "test_accuracy", "lr", "digits"}
    for name in ("train_loss", "test_accuracy", "lr"):
        assert list(numbers[name]) == FOUR
    assert numbers["digits"] == 10_000
    for losses in numbers["train_loss"].values():
        assert len(losses) == 60
        assert all(type(loss) is float for loss in losses)
    assert all(0 <= accuracy <= 1 for accuracy in numbers["test_accuracy"].values())
    assert numbers["lr"] == {"SGD": 0.01, "Momentum": 0.01, "AdaGrad": 0.01, "Adam": 0.001}


def test_all_start_from_the_same_weights_on_the_same_batch(numbers):
    losses = [losses[0] for losses in numbers["train_loss"].values()]
    assert len(set(losses)) == 1
    assert 2 < losses[0] < 3  # about ln(10)


def test_sgd_is_slowest_as_in_the_tutorial(numbers):
    late = {name: np.mean(losses[-20:]) for name, losses in numbers["train_loss"].items()}
    assert max(late, key=late.__getitem__) == "SGD"
    assert late["SGD"] < 2.3
    assert all(late[name] < 0.5 * late["SGD"] for name in FOUR[1:])
    assert numbers["test_accuracy"]["Adam"] > 0.8 > numbers["test_accuracy"]["SGD"]


def test_it_is_the_training_that_it_claims_to_be():
    numbers = run(20, ["adam"], seed=2)
    (x, t), test = load_mnist(subset="sample")
    network = MultiLayerNet(784, [100, 100, 100, 100], 10, seed=2)
    optimizer, losses = Adam(), []
    for rows in stream(2, "batches").integers(10_000, size=(20, 128)):
        loss, grads = network.loss_and_gradient(x[rows], t[rows])
        losses.append(float(loss))
        optimizer.update(network.params, grads)
    np.testing.assert_allclose(numbers["train_loss"]["Adam"], losses, rtol=1e-4)
    assert numbers["test_accuracy"]["Adam"] == pytest.approx(network.accuracy(*test), abs=2e-3)


def test_a_seed_repeats_a_run_and_another_does_not():
    assert run(3, ["adam"], seed=4) == run(3, ["adam"], seed=4)
    assert run(3, ["adam"], seed=4) != run(3, ["adam"], seed=5)


def test_methods_do_not_touch_each_other():
    alone, together = run(4, ["momentum"]), run(4, ["adam", "momentum"])
    assert alone["train_loss"]["Momentum"] == together["train_loss"]["Momentum"]


def test_the_tutorials_six_optimizers():
    numbers = run(4, "six")
    assert numbers == run(4, SIX)
    names = ["SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam"]
    assert list(numbers["train_loss"]) == list(numbers["lr"]) == names
    curves = [tuple(losses) for losses in numbers["train_loss"].values()]
    assert len(set(curves)) == 6
    axes = draw(numbers)
    assert len({line.get_color() for line in axes.get_lines()}) == 6


@pytest.mark.backends("cupy")
def test_the_same_on_a_gpu(backend):
    here, host = run(4, device="cuda"), run(4)
    for name, losses in host["train_loss"].items():
        np.testing.assert_allclose(here["train_loss"][name], losses, rtol=1e-4)
    assert here["test_accuracy"] == pytest.approx(host["test_accuracy"], abs=2e-3)


def test_settings_may_be_others_than_the_tutorials():
    plain = run(2, ["sgd"])
    for change in ({"lr": 0.5}, {"hidden": [20]}, {"activation": "tanh"}, {"weight_init": 0.01}):
        other = optimizer_mnist.run(
            Settings(verbose=False), iterations=2, optimizers=["sgd"], **change
        )
        assert other["train_loss"] != plain["train_loss"]
    assert other["lr"] == {"SGD": 0.01}


def test_several_seeds_are_drawn_as_median_and_band():
    runs = [run(12, ["sgd"], seed=seed) for seed in range(3)]
    (axes,) = optimizer_mnist.plot(runs)["optimizer-mnist"].axes
    curves = np.array([smooth_curve(numbers["train_loss"]["SGD"]) for numbers in runs])
    (line,) = axes.get_lines()
    np.testing.assert_allclose(line.get_ydata(), np.median(curves, axis=0))
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(curves.min())
    assert heights.max() == pytest.approx(curves.max())
    assert "3 seeds" in axes.get_title()


def test_an_unknown_optimizer_gets_a_suggestion():
    with pytest.raises(ValueError, match="'adm' is not known; did you mean 'adam'"):
        run(1, ["adm"])


def test_the_table(numbers):
    columns, rows = optimizer_mnist.table(numbers).shown()
    assert columns == ["method", "lr", "loss, first 60", "loss, last 60", "test accuracy"]
    assert [row[0] for row in rows] == FOUR
    assert [row[1] for row in rows] == ["0.01", "0.01", "0.01", "0.001"]
    mean = np.mean(numbers["train_loss"]["SGD"])
    assert rows[0][2] == rows[0][3] == f"{mean:.3f}"
    assert rows[0][4] == f"{100 * numbers['test_accuracy']['SGD']:.1f}%"


def test_the_table_of_a_long_run():
    losses = [1.0] * 300 + [0.5] * 300 + [0.25] * 100
    numbers = {"train_loss": {"A": losses}, "test_accuracy": {"A": 0.9}, "lr": {"A": 1e-4}}
    columns, rows = optimizer_mnist.table(numbers).shown()
    assert columns[2:4] == ["loss, first 300", "loss, last 100"]
    assert rows == [["A", "0.0001", "1.000", "0.250", "90.0%"]]


def test_the_figure_names_everything(numbers):
    axes = draw(numbers)
    assert (
        axes.get_title() == "Optimizers on MNIST: 5-layer network, batches of 128 of 10,000 digits"
    )
    assert axes.get_xlabel() == "iteration"
    assert "loss" in axes.get_ylabel()
    (legend,) = axes.figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == [
        "SGD (learning rate 0.01)", "Momentum (learning rate 0.01)",
        "AdaGrad (learning rate 0.01)", "Adam (learning rate 0.001)",
    ]  # fmt: skip
    for line, losses in zip(axes.get_lines(), numbers["train_loss"].values(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), range(60))
        np.testing.assert_array_equal(line.get_ydata(), smooth_curve(losses))


def test_the_figure_shows_all_curves_until_they_are_in_the_tutorials_window(numbers):
    axes = draw(numbers)
    assert axes.get_xlim() == (0, 60)
    assert axes.get_ylim() == (0, 2.5)  # SGD is still high up
    learned = numbers | {"train_loss": {"Adam": np.linspace(2.3, 0.1, 60).tolist()}}
    axes = draw(learned)
    assert axes.get_ylim() == (0, 1)


def test_one_iteration_can_be_drawn(tmp_path):
    save_figure(draw(run(1, ["sgd"])).figure, tmp_path, "one")


def losses(sgd, momentum, adagrad, adam):
    return {
        "train_loss": {"SGD": sgd, "Momentum": momentum, "AdaGrad": adagrad, "Adam": adam},
        "test_accuracy": {"SGD": 0.9, "Momentum": 0.93, "AdaGrad": 0.92, "Adam": 0.95},
    }


def test_a_run_too_short_for_a_claim_is_not_judged_by_it():
    few = [0.1] * 150
    words = [
        verdict.word for verdict in judge(optimizer_mnist.CLAIMS, [losses(few, few, few, few)])
    ]
    assert words[1:3] == ["not judged"] * 2  # of the first 300 batches
    shorter = losses(*[[0.1] * 99] * 4)
    verdicts = judge(optimizer_mnist.CLAIMS, [shorter])
    of_losses = [verdict.word for verdict in verdicts if "accuracy" not in str(verdict.claim.says)]
    assert of_losses == ["not judged"] * 4


def test_claims_are_judged_on_early_and_late_losses():
    early, late = [1.0] * 300, [0.1] * 100
    as_said = losses(early + [0.3] * 100, early + late, [0.8] * 300 + [0.09] * 100, early + late)
    assert all(verdict.confirmed for verdict in judge(optimizer_mnist.CLAIMS, [as_said]))
    alike = losses(early + late, early + late, [1.1] * 300 + [0.11] * 100, early + late)
    confirmed = [verdict.confirmed for verdict in judge(optimizer_mnist.CLAIMS, [alike])]
    assert confirmed == [False, True, False, True, False]
    overtaken = losses(early + late, early + late, [0.8] * 300 + [0.09] * 100, early + [0.08] * 100)
    (share,) = judge(optimizer_mnist.CLAIMS, [overtaken])[4].measured
    assert share.value == 0.75  # three hundreds of the four
    assert not share.holds
    apart = losses(early + late, [3.0] * 300 + late, early + late, early + late)
    assert not judge(optimizer_mnist.CLAIMS, [apart])[1].confirmed


def test_claims_of_methods_that_took_no_part_are_not_confirmed(numbers):
    verdicts = judge(optimizer_mnist.CLAIMS, [run(3, ["lion"])])
    assert not any(verdict.confirmed for verdict in verdicts)


@pytest.mark.slow
def test_the_tutorials_claims_are_confirmed_except_for_the_end():
    verdicts = judge(optimizer_mnist.CLAIMS, [run(2000)])
    doubted = [str(v.claim.says) for v in verdicts if not v.confirmed]
    assert doubted == ["AdaGrad stays ahead of Momentum and Adam to the end."]


def test_progress_is_shown_every_hundred_iterations(capsys):
    optimizer_mnist.run(Settings(), iterations=1, optimizers="sgd")
    out = capsys.readouterr().out
    assert out.startswith("optimizer-mnist: iteration 0, loss: SGD 2.")
    assert out.count("\n") == 1
