"""Examples in the docstrings of all modules."""

import doctest
import importlib
from pathlib import Path

import pytest

import dlskills
from dlskills.networks import description

ROOT = Path(dlskills.__file__).parent
MODULES = sorted(
    ".".join(("dlskills", *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for file in ROOT.rglob("*.py")
    if file.stem != "__main__"
)


# Modules that can't be imported without an optional package.
OPTIONAL = {
    "dlskills.tuning.samplers": "optuna",
    "dlskills.formulas.cache": "numba",
    "dlskills.formulas.pointers": "numba",
    "dlskills.formulas.vector_math": "numba",
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, id=f"{name} {OPTIONAL.get(name, '')}".strip()) for name in MODULES]
)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(description, "_CLASSES", dict(description._CLASSES))  # what it registers
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name])
    module = importlib.import_module(name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, _ = doctest.testmod(module, optionflags=flags)

    assert not failed
