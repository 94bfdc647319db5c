"""`import dlskills`: documented public names, and no heavy packages."""

import inspect
import subprocess
import sys

import pytest

import dlskills

HEAVY = ["matplotlib", "numba", "cupy", "optuna", "mpi4py", "pooch", "typer", "rich", "torch"]
PUBLIC = {name: value for name, value in vars(dlskills).items() if not name.startswith("_")}


def test_import_does_not_import_heavy_packages():
    code = f"""
import sys
import dlskills
network = dlskills.MultiLayerNet(3, [4], 2)
dlskills.Adam().update(network.params, network.grads)
print(*[name for name in {HEAVY} if name in sys.modules])
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True
    )
    assert run.stdout.split() == []
    assert run.stderr == ""


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented(name):
    value = PUBLIC[name]
    # not inspect.getdoc, which falls back to the base class's docstring
    doc = value.__doc__ if inspect.ismodule(value) else vars(value).get("__doc__", value.__doc__)

    assert doc
    assert doc.strip()
    first = doc.strip().splitlines()[0]
    assert first.endswith((".", "?", ":")) or "\n\n" not in doc.strip()


def test_all_lists_existing_names():
    for module in [dlskills, *filter(inspect.ismodule, PUBLIC.values())]:
        for name in getattr(module, "__all__", []):
            assert hasattr(module, name), f"{module.__name__}.{name}"


def test_version_starts_with_a_number():
    assert dlskills.__version__.split(".")[0].isdigit()
