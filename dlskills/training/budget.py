"""How long a training is: a number of epochs or of steps."""

from __future__ import annotations

from dlskills.checks import check_count

EPOCHS = 20
"""The tutorial's number of epochs."""


class Budget:
    """The number of epochs or steps that a trainer goes up to.

    Parameters
    ----------
    epochs, steps : int, optional
        At most one of them; :data:`EPOCHS` by default.

    Raises
    ------
    ValueError
        Both are given, or one is less than 1.
    TypeError
        It is not a whole number.

    Examples
    --------
    >>> from dlskills.training.budget import Budget
    >>> Budget(steps=250).in_epochs(100), Budget(epochs=3).in_steps(100)
    (3, 300)
    """

    def __init__(self, epochs: int | None = None, steps: int | None = None) -> None:
        if epochs is not None and steps is not None:
            raise ValueError(
                f"give epochs or steps, got epochs={epochs} and steps={steps}; leave out one of "
                "them"
            )
        self.steps = None if steps is None else check_count("steps", steps)
        self.epochs = 0
        if self.steps is None:
            self.epochs = check_count("epochs", EPOCHS if epochs is None else epochs)

    def in_steps(self, per_epoch: int) -> int:
        """Return the number of steps, given that of an epoch."""
        return self.epochs * per_epoch if self.steps is None else self.steps

    def in_epochs(self, per_epoch: int) -> int:
        """Return the number of epochs; one that the steps leave incomplete counts."""
        return self.epochs if self.steps is None else -(-self.steps // per_epoch)
