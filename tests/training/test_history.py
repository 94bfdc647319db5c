"""The history of a training: columns of equal length, in several forms."""

import csv
import math

import pytest
from small_run import make_trainer

from dlskills.training import History


def test_a_trainer_records_a_row_per_evaluation():
    trainer = make_trainer(validation=0.2, metrics=["accuracy", "loss"], evaluate="last")
    trainer.train()
    history = trainer.history
    assert list(history) == [
        "step", "epoch", "loss", "lr", "train_accuracy", "train_loss", "validation_accuracy",
        "validation_loss", "test_accuracy", "test_loss", "penalty",
    ]  # fmt: skip
    assert history["step"] == [5, 10, 15]
    assert history["epoch"] == [1, 2, 3]
    assert history["lr"] == [0.001] * 3
    losses = trainer.train_loss_list
    expected = [math.fsum(losses[start : start + 5]) / 5 for start in (0, 5, 10)]
    assert history["loss"] == pytest.approx(expected, rel=1e-14)
    assert history["test_accuracy"][-1] == trainer.test_acc
    assert history["test_loss"][-1] == trainer.test_loss
    assert trainer.test_acc_list == history["test_accuracy"]


def test_a_row_may_lack_numbers():
    history = History()
    history.add({"step": 1, "a": 2})
    history.add({"step": 2, "b": 3})
    assert history["step"] == [1, 2]
    assert history["a"][0] == 2
    assert math.isnan(history["a"][1])
    assert math.isnan(history["b"][0])
    assert (history.rows, len(history)) == (2, 3)


def test_an_unknown_column_is_named_with_the_known_ones():
    history = History()
    with pytest.raises(KeyError, match="no column 'a'; it has: none yet"):
        history["a"]
    history.add({"b": 1})
    with pytest.raises(KeyError, match="no column 'a'; it has: b"):
        history["a"]
    assert "a" not in history
    assert history.get("a") is None


def test_a_dict_is_a_copy():
    history = History()
    history.add({"a": 1})
    history.to_dict()["a"].append(2)
    assert history["a"] == [1]


def test_a_csv_file_holds_every_digit(tmp_path):
    history = History()
    history.add({"a": 0.1, "b": 1 / 3})
    history.to_csv(tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        assert [row["b"] for row in csv.DictReader(file)] == [repr(1 / 3)]


def test_a_table_for_notebooks():
    history = History()
    history.add({"a<b": 0.25})
    html = history._repr_html_()
    assert "<th>a&lt;b</th>" in html
    assert "<td>0.25</td>" in html


def test_a_figure_has_a_panel_per_kind():
    trainer = make_trainer(validation=0.2, epochs=4)
    trainer.train()
    figure = trainer.history.plot()
    labels = {
        panel.get_ylabel(): [text.get_text() for text in panel.get_legend().get_texts()]
        for panel in figure.axes
    }
    assert labels["loss"] == ["loss", "validation loss"]
    assert labels["accuracy"] == ["train accuracy", "validation accuracy", "test accuracy"]
    assert "lr" not in labels  # it does not change
    (line, *_) = figure.axes[0].lines
    assert list(line.get_ydata()) == trainer.history["loss"]


@pytest.mark.parametrize("name", [r"$\frac{a}$", "cost in $", "_own"])
def test_any_name_of_a_metric_is_drawn(name):
    history = History()
    for number in (1, 2):
        history.add({"epoch": number, name: number, f"test_{name}": number})
    figure = history.plot()
    figure.draw_without_rendering()
    assert len(figure.axes[0].get_legend_handles_labels()[1]) == 2


def test_a_figure_of_nothing_is_refused():
    with pytest.raises(ValueError, match="nothing was recorded yet"):
        History().plot()


def test_columns_of_unequal_length_are_refused():
    history = History()
    history.add({"a": 1})
    with pytest.raises(ValueError, match="equally long"):
        history.load_dict({"a": [1], "b": []})
    assert history["a"] == [1]
