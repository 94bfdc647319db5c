"""Three forms of weight decay with Adam, from a few steps and from made-up results."""

import numpy as np
import pytest

from dlskills import MultiLayerNet
from dlskills.experiments import Settings, judge
from dlskills.experiments.beyond import decoupled_decay

RATES = np.log10(decoupled_decay.RATES)


def losses(form, slope):
    """Losses whose best decay, in the middle of the grid, goes with the rate as rate**slope."""
    decays = np.log10(decoupled_decay.DECAYS[form])
    best = decays.mean() + slope * (RATES - RATES.mean())
    return ((decays[None, :] - best[:, None]) ** 2).tolist()


def made_up(l2, paper, gain=0.01):
    shape = len(RATES), len(decoupled_decay.DECAYS["L2"])
    return {
        "loss": {"L2": losses("L2", l2), "paper": losses("paper", paper)},
        "test": {"L2": np.full(shape, 0.9), "paper": np.full(shape, 0.9 + gain)},
    }


@pytest.mark.parametrize("slope", [-1.0, -0.3, 0.0, 0.6])
def test_the_slope_of_the_best_decay(slope):
    numbers = made_up(slope, slope)
    assert decoupled_decay.slope(numbers, "L2") == pytest.approx(slope, abs=1e-9)
    assert decoupled_decay.slope(numbers, "paper") == pytest.approx(slope, abs=1e-9)


def test_claims_are_judged_both_ways():
    def words(*given):
        return [v.word for v in judge(decoupled_decay.CLAIMS, [made_up(*given)])]

    assert words(-0.9, 0.1) == ["confirmed"] * 3
    assert words(-0.2, -0.8, -0.01) == ["not confirmed"] * 3


def test_each_form_shrinks_the_weights_by_its_own_measure():
    def shrunk(form, rate, decay):
        _, rule = decoupled_decay.made(form, rate, decay)
        network = MultiLayerNet(4, [3], 2, seed=0)
        before = network.params.copy()
        rule.update(network.params, {name: 0 * array for name, array in before.items()})
        np.testing.assert_array_equal(network.params["b1"], before["b1"])
        return float(1 - network.params["W1"][0, 0] / before["W1"][0, 0])

    assert shrunk("AdamW", 0.01, 2.0) == pytest.approx(0.02, rel=1e-4)
    assert shrunk("paper", 0.01, 0.02) == pytest.approx(0.02, rel=1e-4)
    assert shrunk("paper", 0.001, 0.02) == pytest.approx(0.02, rel=1e-4)
    assert shrunk("L2", 0.01, 0.02) == 0
    assert decoupled_decay.made("L2", 0.01, 0.02)[0] == 0.02


@pytest.mark.slow
def test_a_few_steps_of_one_form():
    numbers = decoupled_decay.run(Settings(verbose=False), iterations=3, forms=["paper"])
    for what in ("loss", "validation", "test"):
        assert np.shape(numbers[what]["paper"]) == (3, 8)
    for draw in ([numbers], [numbers] * 2):
        (figure,) = decoupled_decay.plot(draw).values()
        (panel,) = figure.axes
        assert len(panel.texts) == 24
    _, rows = decoupled_decay.table(numbers).shown()
    assert [row[0] for row in rows] == ["AdamW (paper)"]
