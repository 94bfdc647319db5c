"""Formulas, written once and run by engines that fuse each into one pass over memory."""

from dlskills.formulas.engines import ENGINES, EngineMissingError, engine, engine_for, forced_engine
from dlskills.formulas.formula import along, elementwise
from dlskills.formulas.trace import NotElementwiseError, UnsuitedFormulaError

__all__ = [
    "ENGINES",
    "EngineMissingError",
    "NotElementwiseError",
    "UnsuitedFormulaError",
    "along",
    "elementwise",
    "engine",
    "engine_for",
    "forced_engine",
]
