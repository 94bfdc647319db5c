"""Argument checks: accepted values and error messages."""

import inspect
import math

import numpy as np
import pytest

from dlskills.checks import check_choice, check_count, check_number, known_keywords, suggestion


@pytest.mark.parametrize("value", [1, 1.0, np.float32(1), np.int64(1), np.asarray(1.0)])
def test_a_number_becomes_a_python_float(value):
    assert type(check_number("lr", value)) is float
    assert check_number("lr", value) == 1


@pytest.mark.parametrize(
    ("value", "bounds"),
    [
        (0, {"at_least": 0}),
        (0.999, {"below": 1}),
        (1e-9, {"above": 0}),
        (-3, {"at_least": -3, "below": -2}),
    ],
)
def test_values_at_inclusive_bounds_pass(value, bounds):
    assert check_number("lr", value, **bounds) == value


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (-0.1, {"at_least": 0}, "lr must be at least 0, got -0.1"),
        (1, {"at_least": 0, "below": 1}, "lr must be at least 0 and less than 1, got 1"),
        (0, {"above": 0}, "lr must be greater than 0, got 0"),
        (math.nan, {"at_least": 0}, "lr must be finite and at least 0, got nan"),
        (math.inf, {"at_least": 0}, "lr must be finite and at least 0, got inf"),
        (-math.inf, {}, "lr must be finite, got -inf"),
    ],
)
def test_a_number_out_of_bounds_is_rejected(value, bounds, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        check_number("lr", value, **bounds)


def test_an_int_that_overflows_is_not_finite():
    with pytest.raises(ValueError, match="^lr must be finite, got an int too large for a float$"):
        check_number("lr", 2**2000)


@pytest.mark.parametrize("value", ["0.1", True, None, [1.0, 2.0], 1j, np.ones(2)])
def test_values_that_are_not_numbers_are_rejected(value):
    with pytest.raises(TypeError, match="^lr must be a number, got "):
        check_number("lr", value)


@pytest.mark.parametrize("value", [3, np.int32(3), np.asarray(3)])
def test_a_count_becomes_a_python_int(value):
    assert type(check_count("epochs", value)) is int
    assert check_count("epochs", value) == 3


@pytest.mark.parametrize("value", [3.0, "3", True, None])
def test_values_that_are_not_integers_are_rejected(value):
    with pytest.raises(TypeError, match="^epochs must be a whole number, got "):
        check_count("epochs", value)


def test_a_count_that_is_too_small_is_rejected():
    assert check_count("epochs", 0, at_least=0) == 0
    with pytest.raises(ValueError, match=r"^epochs must be at least 1, got 0$"):
        check_count("epochs", 0)


@pytest.mark.parametrize("value", ["relu", "ReLU", " RELU "])
def test_a_choice_ignores_case_and_spaces(value):
    assert check_choice("activation", value, ["sigmoid", "relu"]) == "relu"


def test_a_choice_is_returned_in_its_canonical_spelling():
    assert check_choice("rule", "sgd", ["SGD"]) == "SGD"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("rmspro", "'rmspro' is not known; did you mean 'rmsprop'? Choose from: 'rmsprop', 'sgd'"),
        ("Sdg", "'Sdg' is not known; did you mean 'sgd'? Choose from: 'rmsprop', 'sgd'"),
        ("xyz", "'xyz' is not known. Choose from: 'rmsprop', 'sgd'"),
        (3, "3 is not known. Choose from: 'rmsprop', 'sgd'"),
        (None, "None is not known. Choose from: 'rmsprop', 'sgd'"),
    ],
)
def test_an_unknown_choice_is_rejected_with_a_suggestion(value, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        check_choice("optimizer", value, ["rmsprop", "sgd"])
    assert str(error.value) == f"optimizer {message}"


def test_only_close_words_are_suggested():
    assert suggestion("adm", ["adam", "sgd"]) == "; did you mean 'adam'?"
    assert suggestion("xyz", ["adam", "sgd"]) == ""


class Recipe:
    @known_keywords({"sugar": "honey=..."})
    def __init__(self, flour, *, honey=0, yeast=1):
        self.made = flour, honey, yeast


class Cake(Recipe):
    pass


def test_known_keywords_are_accepted():
    assert Recipe(1, honey=2).made == Recipe(flour=1, honey=2, yeast=1).made == (1, 2, 1)
    assert list(inspect.signature(Recipe).parameters) == ["flour", "honey", "yeast"]


@pytest.mark.parametrize("kind", [Recipe, Cake])
def test_an_unknown_keyword_is_rejected_with_the_remedy(kind):
    name = kind.__name__
    with pytest.raises(TypeError, match=f"^{name} has no argument 'sugar'. Write honey=...$"):
        kind(1, sugar=2)
    close = rf"^{name} has no argument 'honney'; did you mean 'honey'\? It takes: flour, honey"
    with pytest.raises(TypeError, match=close):
        kind(1, honney=2)
    with pytest.raises(TypeError, match=f"^{name} has no argument 'q'. It takes: flour, honey, y"):
        kind(1, q=2)


def test_missing_arguments_raise_pythons_error():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'flour'"):
        Recipe(yeast=1)


def test_a_function_with_var_keywords_is_not_wrapped():
    def cook(self, **ingredients):
        return ingredients

    assert known_keywords({})(cook) is cook
