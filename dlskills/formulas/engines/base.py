"""The base class of engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from dlskills.arrays.backend import Array, library_of

if TYPE_CHECKING:
    from dlskills.formulas.formula import Formula
    from dlskills.formulas.table import Table


class Engine:
    """Base class for engines, which run formulas over arrays.

    To add an engine, write a subclass in its own file and register it in
    :mod:`dlskills.formulas.engines`.

    Attributes
    ----------
    name : str
    library : str or None
        The library whose arrays the engine accepts; None for any library.
    fuses : bool
        Whether the engine runs a formula in one pass over memory. If so, a network fuses an
        activation with the bias before it.
    takes_masks : bool
        Whether operands may be a :class:`~dlskills.arrays.random.Mask`. Other engines get the
        mask's values as an array.
    """

    name: ClassVar[str]
    library: ClassVar[str | None] = None
    fuses: ClassVar[bool] = False
    takes_masks: ClassVar[bool] = False

    def missing(self) -> str | None:
        """Return why the engine is not available and what to do about it; None if it is."""
        return None

    def takes(self, array: Array) -> bool:
        """Return whether the engine can run formulas whose first operand is this array."""
        return self.library in (None, library_of(array))

    def suits(self, array: Array, size: int | None = None) -> bool:
        """Return whether the engine is a good choice for `size` elements of such an array.

        The fastest engine that returns True is used. By default, `size` is that of the array.
        """
        return self.takes(array)

    def run(
        self,
        formula: Formula,
        operands: Sequence[Any],
        axis: tuple[int, ...] | None,
        out: Sequence[Array | None] | None,
    ) -> tuple[Array, ...]:
        """Return the results of a formula: new arrays, or those of `out`.

        Raises
        ------
        UnsuitedFormulaError
            The engine can't run this formula.
        """
        raise NotImplementedError(f"{type(self).__name__} must define run")

    def update(self, table: Table) -> None:
        """Update the rows of a table in place, by default one after the other.

        Raises
        ------
        UnsuitedFormulaError
            The engine can't run this rule.
        """
        for row, numbers in table:
            self.update_row(table.rule, row, numbers)

    def update_row(self, rule: Formula, row: Sequence[Array], numbers: Sequence[Any]) -> None:
        """Update ``[param, grad, *slots]`` in place."""
        param, _, *slots = row
        self.run(rule, [*row, *numbers], None, [param, *slots])
