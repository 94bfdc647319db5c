"""Import paths of earlier releases."""

import importlib
import sys
import warnings

import pytest

from dlskills.moved import MOVED


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_an_old_path_imports_the_new_module_and_warns(old, new):
    with warnings.catch_warnings(action="ignore"):  # its package may have moved, too
        importlib.import_module(old.rpartition(".")[0])
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=rf"^{old} is now {new}\. ") as warned:
        module = importlib.import_module(old)
    assert module is importlib.import_module(new)
    assert module.__name__ == new
    assert len(warned) == 1


def test_the_warning_names_the_importing_line():
    sys.modules.pop("dlskills.backend", None)
    with pytest.warns(DeprecationWarning, match="dlskills.backend is now") as warned:
        from dlskills.backend import get_backend  # noqa: F401
    assert warned[0].filename == __file__
