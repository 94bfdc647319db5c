"""The catalogue: every text in both languages, and none that nothing uses."""

import ast
import re

import pytest

from dlskills.experiments import BEYOND, EXPERIMENTS, Text, find
from dlskills.experiments.text import FOLDER, Texts, as_text, in_each_language, language

FILES = sorted(path.stem for path in FOLDER.glob("*.toml"))
# Words of names and formulas, which Chinese texts have, too
NAMES = {
    "AdaGrad", "Adam", "Affine", "Batch", "Dropout", "He", "MNIST", "Momentum", "Norm", "ReLU",
    "SGD", "Xavier", "epoch", "sigmoid", "tanh", "Batch Norm", "lr",
}  # fmt: skip


def is_chinese(words):
    return any("\u4e00" <= sign <= "\u9fff" for sign in words)


@pytest.mark.parametrize("name", FILES)
def test_every_text_is_in_both_languages(name):
    texts = Texts(name)
    assert texts.entries
    for key, text in texts.entries.items():
        assert not is_chinese(text.en), key
        words = set(re.findall(r"[^\W\d_]{2,}", re.sub(r"\{.*?\}", "", text.en)))
        assert is_chinese(text.zh) or words <= NAMES, key
        fields = [sorted(re.findall(r"\{(\w+)", words)) for words in (text.en, text.zh)]
        assert fields[0] == fields[1], key


def test_a_missing_text_is_an_error():
    with pytest.raises(KeyError, match="symmetry.toml has no text 'titl'"):
        Texts("symmetry")("titl")


def test_every_text_that_code_asks_for_exists():
    """Literal keys in the modules of the experiments; a misspelt one would show only when used."""
    modules = {
        "labels": ["drawing", "small_data", "trials"], "report": ["../report/write"],
        **{name: [name.replace("-", "_")] for name in EXPERIMENTS},
        **{name: [f"beyond/{name.replace('-', '_')}"] for name in BEYOND},
    }  # fmt: skip
    count = 0
    for name, files in modules.items():
        for file in files:
            tree = ast.parse((FOLDER.parent / f"{file}.py").read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
                    "TEXTS", "LABELS", "WORDS", "texts",
                ) and isinstance(node.args[0], ast.Constant):  # fmt: skip
                    Texts(name)(node.args[0].value)
                    count += 1
    assert count > 80


@pytest.mark.parametrize("name", EXPERIMENTS | BEYOND)
def test_all_claims_of_the_catalogue_are_made(name):
    texts, experiment = Texts(name), find(name)
    says = {text for key, text in texts.group("claims").items() if key.endswith(".says")}
    assert says == {claim.says for claim in experiment.claims}
    remarks = {text for key, text in texts.group("claims").items() if key.endswith(".remark")}
    assert remarks == {claim.remark for claim in experiment.claims if claim.remark}


def test_the_language_of_a_text():
    text = Text("a {n}", "一 {n}")
    assert str(text) == "a {n}"
    with language("zh"):
        assert f"{text.format(n=2)}" == "一 2"
        with language("en"):
            assert str(text) == "a {n}"
    assert str(text) == "a {n}"
    assert in_each_language(lambda: str(text)) == ["a {n}", "一 {n}"]


def test_a_text_within_a_text():
    inner = Text("b", "乙")
    assert Text("a {x}", "甲{x}").format(x=inner) == Text("a b", "甲乙")


def test_names_of_curves():
    texts = Texts("dropout")
    assert texts.name("none") == Text("none", "无")
    assert texts.name("my own") == as_text("my own") == Text("my own", "my own")
