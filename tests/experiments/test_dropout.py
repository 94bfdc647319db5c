"""Dropout against overfitting, and its masks."""

import numpy as np
import pytest

from dlskills.experiments import Settings, dropout, judge
from dlskills.plotting import save_figure

QUIET = Settings(verbose=False)
OF_MASKS = [*dropout.CLAIMS[:3], dropout.CLAIMS[5]]


def run(epochs, **options):
    return dropout.run(QUIET, epochs=epochs, **options)


@pytest.fixture(scope="module")
def numbers():
    return run(3)


def test_all_forms_end_after_whole_epochs_and_differ(numbers):
    assert list(numbers["curves"]) == ["none", "book, 0.15", "book, 0.2", "inverted, 0.15"]
    losses = [own["train_loss"] for own in numbers["curves"].values()]
    assert all(len(loss) == 3 for loss in losses)
    assert len({tuple(loss) for loss in losses}) == 4


def test_forms_start_from_the_same_weights(numbers):
    squares = [own["squares"][0] for own in numbers["curves"].values()]
    np.testing.assert_allclose(squares, squares[0], rtol=1e-3)


def test_parts_alone_are_the_parts_of_the_whole(numbers):
    alone = run(3, forms=["inverted, 0.15"])
    assert alone["curves"] == {"inverted, 0.15": numbers["curves"]["inverted, 0.15"]}
    assert alone["masks"] == numbers["masks"]


def test_masks_are_the_tutorials_except_for_the_factor_at_inference(numbers):
    assert [verdict.confirmed for verdict in judge(OF_MASKS, [numbers])] == [
        True, True, False, True,
    ]  # fmt: skip
    assert numbers["masks"]["test"] == pytest.approx(0.85)


@pytest.mark.parametrize(
    ("wrong", "claim"),
    [({"kept": 84_000.0}, 0), ({"differ": 0.0}, 0), ({"leaks": 3.0}, 1), ({"train": 1.0}, 3)],
)
def test_wrong_masks_are_seen(numbers, wrong, claim):
    numbers = numbers | {"masks": numbers["masks"] | wrong}
    assert not judge(OF_MASKS, [numbers])[claim].confirmed


def test_figures_have_names_and_words(numbers, tmp_path):
    figures = dropout.plot([numbers])
    assert set(figures) == set(dropout.EXPERIMENT.alt)
    assert len(figures["dropout"].axes) == 4
    save_figure(figures["dropout"], tmp_path, "dropout")


def test_the_table_has_a_row_for_each_form(numbers):
    _, rows = dropout.table(numbers).shown()
    assert [row[0] for row in rows] == [
        "none",
        "book's form, 0.15",
        "book's form, 0.2",
        "inverted, 0.15",
    ]


def test_ratios_of_ones_own():
    forms = dropout.parse_forms("0.1, 0.5")
    assert forms == ["none", "book, 0.1", "inverted, 0.1", "book, 0.5", "inverted, 0.5"]
    assert dropout.parse_forms(["none", "book, 0.3"]) == ["none", "book, 0.3"]
    for wrong in ("1.5", ["boo, 0.3"], ["book, 2"]):
        with pytest.raises(ValueError, match="ratio must be|form 'boo' is not known"):
            dropout.parse_forms(wrong)


@pytest.mark.backends("cupy")
def test_the_same_on_a_gpu(backend, numbers):
    settings = Settings(device="cuda", verbose=False)
    there = dropout.run(settings, epochs=2, forms=["none", "book, 0.15"])
    assert there["masks"] == pytest.approx(numbers["masks"], rel=1e-5)
    for form, own in there["curves"].items():
        expected = numbers["curves"][form]["train_loss"][:2]
        np.testing.assert_allclose(own["train_loss"], expected, rtol=1e-4)


@pytest.mark.slow
def test_the_tutorials_claims_are_confirmed_except_for_the_factor_and_better_generalization():
    doubted = [
        str(verdict.claim.says)
        for verdict in judge(dropout.CLAIMS, [dropout.run(QUIET)])
        if not verdict.confirmed
    ]
    assert [claim[:12] for claim in doubted] == ["At inference", "With Dropout"]
