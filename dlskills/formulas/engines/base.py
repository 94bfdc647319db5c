"""What an engine is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from dlskills.arrays.backend import Array, library_of

if TYPE_CHECKING:
    from dlskills.formulas.formula import Formula
    from dlskills.formulas.table import Table


class Engine:
    """A way to run formulas over arrays.

    To add one, write a subclass in a file of its own and name it in
    :mod:`dlskills.formulas.engines`.

    Attributes
    ----------
    name : str
    library : str or None
        The library whose arrays it takes, None for any.
    fuses : bool
        Whether it runs a formula in one pass over memory; a network then joins an activation with
        the bias before it.
    takes_masks : bool
        Whether operands may be a :class:`~dlskills.arrays.random.Mask`. Other engines get its
        values, as an array.
    """

    name: ClassVar[str]
    library: ClassVar[str | None] = None
    fuses: ClassVar[bool] = False
    takes_masks: ClassVar[bool] = False

    def missing(self) -> str | None:
        """Why the engine is not available here and what to do about it, None if it is."""
        return None

    def takes(self, array: Array) -> bool:
        """Whether it can run formulas whose first operand is this array."""
        return self.library in (None, library_of(array))

    def suits(self, array: Array, size: int | None = None) -> bool:
        """Whether it is a good choice for `size` elements of such an array, by default its own.

        The first engine that is gets them.
        """
        return self.takes(array)

    def run(
        self,
        formula: Formula,
        operands: Sequence[Any],
        axis: tuple[int, ...] | None,
        out: Sequence[Array | None] | None,
    ) -> tuple[Array, ...]:
        """The results of a formula: new arrays, or those of `out`.

        Raises
        ------
        UnsuitedFormulaError
            It can't run this formula.
        """
        raise NotImplementedError(f"{type(self).__name__} must define run")

    def update(self, table: Table) -> None:
        """Update the rows of a table in place; one after the other, unless an engine knows better.

        Raises
        ------
        UnsuitedFormulaError
            It can't run this rule.
        """
        for row, numbers in table:
            self.update_row(table.rule, row, numbers)

    def update_row(self, rule: Formula, row: Sequence[Array], numbers: Sequence[Any]) -> None:
        """Update ``[param, grad, *slots]`` in place."""
        param, _, *slots = row
        self.run(rule, [*row, *numbers], None, [param, *slots])
