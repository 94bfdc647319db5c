"""Import paths of earlier releases, which work for one more release and warn."""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
import warnings
from types import ModuleType
from typing import Any

MOVED = {
    "dlskills.backend": "dlskills.arrays.backend",
    "dlskills.parameters": "dlskills.arrays.parameters",
    "dlskills.random": "dlskills.arrays.random",
    "dlskills.fusion": "dlskills.formulas",
    "dlskills.symbolic": "dlskills.formulas.trace",
    "dlskills.philox": "dlskills.arrays.philox",
    "dlskills.sequential": "dlskills.networks.sequential",
    "dlskills.structure": "dlskills.networks.structure",
    "dlskills.compare": "dlskills.diagnostics.compare",
    "dlskills.optimizers.engines.plain": "dlskills.formulas.engines.plain",
    "dlskills.optimizers.engines.blocked": "dlskills.formulas.engines.blocked",
    "dlskills.optimizers.engines": "dlskills.formulas.engines",
    "dlskills.optimizers.engines.compiled": "dlskills.formulas.engines.numba",
    "dlskills.optimizers.engines.fused": "dlskills.formulas.engines.cuda",
    "dlskills.optimizers.engines.rules": "dlskills.formulas.formula",
    "dlskills.optimizers.engines.threads": "dlskills.formulas.threads",
    "dlskills.device_check": "dlskills.diagnostics.device_check",
}


class _MovedModules:
    """Finder and loader for the old module names.

    It comes first in ``sys.meta_path``, since the folder of a moved package may still hold a file
    with the old name.
    """

    def find_spec(self, name: str, *where: Any) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self) if name in MOVED else None  # type: ignore[arg-type]

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__
        warnings.warn(
            f"{old} is now {MOVED[old]}. The old name will be removed in the next release",
            DeprecationWarning,
            stacklevel=2,  # the importing line: Python skips the frames of the import system
        )
        sys.modules[old] = importlib.import_module(MOVED[old])


def install() -> None:
    """Make the old module names importable."""
    if not any(isinstance(finder, _MovedModules) for finder in sys.meta_path):
        sys.meta_path.insert(0, _MovedModules())
