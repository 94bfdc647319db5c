"""Rules, rates, sizes and layers that a user chooses."""

import pytest

from dlskills import SGD, Adam
from dlskills.experiments import Settings, choices, run
from dlskills.layers import ACTIVATIONS, ReLU

OWN = """
from dlskills import Optimizer
from dlskills.layers import Layer

class SignStep(Optimizer):
    lr: float = 0.01

    def coefficients(self, step):
        return (self.lr,)

    @staticmethod
    def rule(xp):
        def update(param, grad, lr):
            param -= lr * xp.sign(grad)
            return (param,)
        return update

class Textbook:
    def __init__(self, lr=0.5):
        self.lr = lr
    def update(self, params, grads):
        for key in params.keys():
            params[key] -= self.lr * grads[key]

class Square(Layer):
    def forward(self, x, train_flg=True):
        self._x = x
        return x * x

    def backward(self, dout):
        return 2 * self._x * dout
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own_rules.py"
    path.write_text(OWN)
    return path


@pytest.fixture(autouse=True)
def unregistered(monkeypatch):
    """What a test adds to the activations is taken out again."""
    for name in set(ACTIVATIONS) - {"relu", "sigmoid", "tanh", "leakyrelu", "gelu"}:
        monkeypatch.delitem(ACTIVATIONS, name)
    before = dict(ACTIVATIONS)
    yield
    for name in set(ACTIVATIONS) - set(before):
        del ACTIVATIONS[name]


def test_rules_by_name_with_settings_and_from_a_file(own):
    chosen = choices.parse_optimizers(f"SGD, Adam:lr=0.01:beta1=0.8, {own}:SignStep:lr=0.002")
    rules = choices.optimizers(chosen)
    assert list(rules) == ["SGD", "Adam", "SignStep"]
    assert (rules["Adam"].lr, rules["Adam"].beta1, rules["SignStep"].lr) == (0.01, 0.8, 0.002)


def test_one_rate_for_all_that_name_none():
    rules = choices.optimizers(["SGD", "Adam:lr=0.01"], lr=0.5)
    assert (rules["SGD"].lr, rules["Adam"].lr) == (0.5, 0.01)


def test_one_rule_at_several_rates():
    rules = choices.optimizers(choices.parse_optimizers("Adam:lr=0.1, Adam:lr=0.01"))
    assert list(rules) == ["Adam lr=0.1", "Adam lr=0.01"]


def test_objects_are_copied_so_that_runs_share_no_state():
    mine = Adam(lr=0.25)
    (made,) = choices.optimizers([mine]).values()
    assert made is not mine
    assert made.lr == 0.25
    assert isinstance(next(iter(choices.optimizers([SGD]).values())), SGD)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("adm", ValueError, "'adm' is not known; did you mean 'adam'"),
        ("SGD:0.1", ValueError, "got '0.1' in place of a setting"),
        ("SGD:rate=0.1", TypeError, "no argument 'rate'"),
        ("SGD, SGD", ValueError, "optimizers names SGD twice"),
        ("nothing.py:Rule", ValueError, "there is no file 'nothing.py' to take an optimizer from"),
        ([3], TypeError, "must have a method update"),
    ],
)
def test_rules_that_are_none(given, error, message):
    with pytest.raises(error, match=message):
        choices.parse_optimizers(given)


def test_a_name_that_a_file_does_not_have(own):
    with pytest.raises(ValueError, match="has no 'SignStp'; did you mean 'SignStep'"):
        choices.parse_optimizers(f"{own}:SignStp")


@pytest.mark.parametrize(
    ("parse", "given", "expected"),
    [
        (choices.parse_sizes, "100, 50", [100, 50]),
        (choices.parse_sizes, [7], [7]),
        (choices.parse_rates("decay"), "0, 0.1", [0, 0.1]),
        (choices.parse_point, "-7, 2", [-7, 2]),
        (choices.parse_inits, "0.01, Xavier, he", [0.01, "xavier", "he"]),
        (choices.parse_activations, "relu, tanh", ["relu", "tanh"]),
    ],
)
def test_values_as_text(parse, given, expected):
    assert parse(given) == expected


@pytest.mark.parametrize(
    ("parse", "given", "message"),
    [
        (choices.parse_sizes, "100, many", "hidden must be a whole number, got 'many'"),
        (choices.parse_sizes, "0", "hidden must be at least 1"),
        (choices.parse_rates("decay", at_least=0), "-1", "decay must be finite and at least 0|at"),
        (choices.parse_point, "1", "start must be two numbers"),
        (choices.parse_inits, "xaver", "did you mean 'xavier'"),
        (choices.parse_activation, "rleu", "did you mean 'relu'"),
        (choices.parse_activation, int, "an activation must be a class derived from Layer"),
    ],
)
def test_values_that_are_none(parse, given, message):
    with pytest.raises((ValueError, TypeError), match=message):
        parse(given)


def test_an_activation_from_a_file(own):
    assert choices.activation_name(f"{own}:Square") == "square"
    assert choices.activation_label(f"{own}:Square") == "Square"
    assert choices.activation_name("ReLU") == "relu"
    assert choices.activation_name(ReLU) == "relu"


def test_another_layer_of_a_known_name_is_refused():
    class Relu(ReLU):
        pass

    with pytest.raises(ValueError, match="there is an activation 'relu' already"):
        choices.activation_name(Relu)


def test_labels_of_initial_weights():
    labels = [choices.init_label(choice) for choice in (0.01, "he", "xavier", "lecun_normal")]
    assert labels == ["std 0.01", "He", "Xavier", "lecun normal"]


# In an experiment

QUIET = Settings(verbose=False)


def test_a_rule_of_ones_own_in_the_tutorials_experiments(own):
    told = {"optimizers": f"SGD:lr=0.5, {own}:SignStep:lr=0.5, {own}:Textbook", "points": 3}
    (records,) = run(["optimizer-paths"], QUIET, options=told).values()
    paths = records[0].numbers["paths"]
    assert paths["SignStep"][1] == [-6.5, 1.5]
    assert paths["Textbook"] == paths["SGD"]
    told = {"optimizers": f"{own}:SignStep", "iterations": 2, "activation": f"{own}:Square"}
    (records,) = run(["optimizer-mnist"], QUIET, options=told).values()
    assert list(records[0].numbers["train_loss"]) == ["SignStep"]


def test_another_version_of_a_rule_is_another_run(own, tmp_path):
    told = {"options": {"optimizers": f"{own}:SignStep", "points": 2}, "cache": tmp_path / "cache"}
    for _ in range(2):
        run(["optimizer-paths"], QUIET, **told)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    own.write_text(OWN + "# changed\n")
    run(["optimizer-paths"], QUIET, **told)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_objects_from_python_are_kept_apart_in_the_cache(tmp_path):
    lengths = []
    for rule in (Adam(lr=0.1), Adam(lr=0.2), Adam(lr=0.1)):
        told = {"optimizers": [rule], "points": 2}
        (records,) = run(["optimizer-paths"], QUIET, options=told, cache=tmp_path).values()
        lengths.append(len(list(tmp_path.iterdir())))
    assert lengths == [1, 2, 2]
    assert records[0].options["optimizers"][0]["object"].startswith("Adam(lr=0.1")
