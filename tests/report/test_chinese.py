"""Labels in Chinese: what experiments write in figures and tables, and what is left as it is."""

import re

import pytest

from dlskills.experiments import EXPERIMENTS, Settings, run
from dlskills.experiments.text import Text
from dlskills.report.chinese import both, in_chinese, with_names
from dlskills.report.figures import inline_svg


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("iteration", "迭代次数"),
        ("layer 3", "第 3 层"),
        ("Adam (learning rate 0.001)", "Adam（学习率 0.001）"),
        ("weights: std 0.01", "权重：标准差 0.01"),
        ("without: diverged", "不使用：发散"),
        ("3. trial 74: 0.79", "第 3 名：试验 74，0.79"),
        ("ReLU, all 0.01: all units alike", "ReLU，全 0.01：所有神经元相同"),
        ("Overfitting: 300 digits, 7 layers", "过拟合：300 个数字，7 层网络"),
        (
            "Paths of four optimizers on x²/20 + y²: the first 30 points",
            "四种优化方法在 x²/20 + y² 上的路径：前 30 个点",
        ),
    ],
)
def test_words_and_forms(words, expected):
    assert in_chinese(words) == expected
    assert both(words) == (words, expected)


def test_names_that_are_quoted():
    text = Text("gap: “none” minus “book, 0.2”", "差距：“none”减“book, 0.2”，“原样”")
    assert with_names(text) == (text.en, "差距：“无”减“书中形式，0.2”，“原样”")


def test_no_claim_names_anything_in_english():
    for experiment in EXPERIMENTS.values():
        for claim in experiment.CLAIMS:
            for text in (claim.says, *(check.what for check in claim.checks)):
                for name in re.findall("“(.+?)”", with_names(text).zh):
                    assert set(re.findall(r"[A-Za-z]{2,}", name)) <= NAMES


@pytest.mark.parametrize("words", ["", "0.15", "−4", "1e-06", "SGD", "λ = 0.1", "f(x, y)", "own"])
def test_numbers_and_names_stay(words):
    assert in_chinese(words) == words


# Words of names and formulas, which Chinese texts have too
NAMES = {
    "AdaGrad", "Adam", "Affine", "Batch", "Dropout", "He", "MNIST", "Momentum", "Norm", "ReLU",
    "SGD", "Xavier", "epoch", "sigmoid", "tanh", "e", "f", "x", "y", "x²", "y²", "W", "λ", "ΣW²",
    "½λΣW²",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_everything_in_figures_and_tables_has_its_chinese(name):
    experiment = EXPERIMENTS[name]
    (record,) = run([name], Settings(verbose=False), quick=True)[name]
    columns, rows = experiment.table(record.numbers)
    found = {*columns, *(cell for row in rows for cell in row)}
    for figure in experiment.plot(record.numbers).values():
        svg = inline_svg(figure, "x", {})
        found |= set(re.findall(r"<text\b[^>]*>([^<]+)</text>", svg))
    assert len(found) > 10
    left = {word for text in found for word in re.findall(r"[^\W\d_]+", in_chinese(text))}
    latin = {word for word in left if not any("\u4e00" <= sign <= "\u9fff" for sign in word)}
    assert latin <= NAMES
