"""Softmax with cross-entropy loss."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from dlskills.arrays.backend import Array, device_of, namespace, sum_dtype, to_host
from dlskills.checks import check_number, known_keywords
from dlskills.formulas import along
from dlskills.layers.losses import LossWithGradient, broadcastable_weights
from dlskills.layers.targets import check_class_count, check_target_rows, check_targets


class SoftmaxWithLoss(LossWithGradient):
    r"""Softmax with cross-entropy loss.

    :math:`L = \frac{1}{N} \sum_n (\log \sum_j e^{x_{nj}} - x_{n t_n})`, computed directly from the
    scores so that no score overflows. Its gradient is
    :math:`(\mathrm{softmax}(x) - \text{one-hot}(t)) / N`. For target rows :math:`t` with any sum,
    :math:`L = \frac{1}{N} \sum_{nj} t_{nj} (\log \sum_k e^{x_{nk}} - x_{nj})`: a row of zeros
    excludes its sample, and a row multiplied by a weight gives its sample that weight.

    Parameters
    ----------
    epsilon : float, default 0.0
        Added to the probabilities inside the logarithm. The book adds 1e-7, which limits the loss
        to 16.1, but uses the gradient of the loss without it. Here the gradient is that of the loss
        itself, which vanishes where a probability is not much larger than epsilon.
    label_smoothing : float, default 0.0
        Moves this fraction s of each target row, ``0 <= s < 1``, evenly to all C classes:
        :math:`t'_{nj} = (1 - s)\, t_{nj} + \frac{s}{C} \sum_k t_{nk}`. Szegedy, Vanhoucke, Ioffe,
        Shlens & Wojna (2016), "Rethinking the Inception architecture for computer vision", section
        7. A row of zeros stays one. For rows with sum 1, this is PyTorch's `label_smoothing`.
    class_weights : sequence of C floats, optional
        Multiplies each sample's loss by the weight of its class, for classes of different
        frequency or importance. In a row of targets, each target is multiplied by its class's
        weight (before smoothing).

    Notes
    -----
    The loss is the mean over all N samples. With labels and class weights, PyTorch's
    ``CrossEntropyLoss(weight=...)`` divides by the sum of the weights of the samples' classes
    instead, so that its loss is that of a weighted mean; multiply it by that sum over N to get this
    loss. With `label_smoothing` as well, PyTorch weights the term of every class by that class's
    weight, not the whole loss of a sample by the weight of the sample's class.
    """

    _classes: Any = None
    _weights: Any = None

    @known_keywords({"weight": "class_weights=...", "smoothing": "label_smoothing=..."})
    def __init__(
        self,
        epsilon: float = 0.0,
        *,
        label_smoothing: float = 0.0,
        class_weights: Iterable[float] | None = None,
    ) -> None:
        self.epsilon = check_number("epsilon", epsilon, at_least=0)
        self.label_smoothing = check_number("label_smoothing", label_smoothing, at_least=0, below=1)
        self.class_weights = _check_class_weights(class_weights)

    def forward(self, x: Array, t: Array, weights: Array | None = None) -> Array:
        """Return the mean cross entropy.

        Parameters
        ----------
        x : array, shape (N, C)
            Scores, before softmax.
        t : array, shape (N,) of integers, or (N, C)
            Labels from 0 to C - 1; or one-hot rows, probabilities, or any nonnegative targets.
        weights : array, shape (N,), optional
            The weight of each sample, at least 0; see :meth:`Loss.forward`.

        Returns
        -------
        array, shape ()
            NaN if a label is not from 0 to C - 1. (A network on NumPy raises an error instead; on
            other backends such a check would wait for the device.)

        Raises
        ------
        ValueError
            The shapes don't match; there is only one class; or targets (on NumPy) are negative,
            NaN, or integers other than 0 and 1.
        """
        check_targets(t, x)
        check_target_rows("t", t)
        check_class_count(x.shape[1])
        of_labels = t.ndim != x.ndim
        operands: list[Any] = [x]
        if of_labels:
            xp = namespace(x)
            operands += [xp.astype(t, xp.int64, copy=False)[:, None], self._classes_of(x)]
            operands.append(x.shape[1])
        else:
            operands.append(t)
        if self.class_weights is not None:
            operands.append(self._class_weights_of(x))
        if weights is not None:
            operands.append(broadcastable_weights(weights, x))
        if self.label_smoothing:
            operands.append(self.label_smoothing)
        operands.append(1 / x.shape[0])
        if self.epsilon:
            operands.append(self.epsilon)
        formula = _formula(
            bool(self.epsilon), of_labels, self.class_weights is not None, weights is not None,
            bool(self.label_smoothing),
        )  # fmt: skip
        return self.keep(x, *formula(*operands, axis=1))

    def settings(self) -> dict[str, Any]:
        weights = self.class_weights
        return super().settings() | {"class_weights": None if weights is None else list(weights)}

    def __repr__(self) -> str:
        settings = [f"epsilon={self.epsilon:g}"] if self.epsilon else []
        if self.label_smoothing:
            settings.append(f"label_smoothing={self.label_smoothing:g}")
        if self.class_weights is not None:
            settings.append(f"class_weights=[{', '.join(f'{w:g}' for w in self.class_weights)}]")
        return f"SoftmaxWithLoss({', '.join(settings)})"

    def _classes_of(self, x: Array) -> Array:
        """Return the class indices 0 to C - 1, cached for the next batch."""
        here, known = device_of(x), self._classes
        if known is None or known[0] != here or known[1].shape[0] != x.shape[1]:
            xp = namespace(x)
            self._classes = known = here, xp.arange(x.shape[1], dtype=xp.int64, device=here)
        return known[1]

    def _class_weights_of(self, x: Array) -> Array:
        """Return the classes' weights in a shape that broadcasts against `x`, cached."""
        given = self.class_weights or ()
        if len(given) != x.shape[1]:
            raise ValueError(
                f"class_weights must hold one weight for each of the {x.shape[1]} classes, got "
                f"{len(given)}"
            )
        xp = namespace(x)
        key = device_of(x), sum_dtype(xp, x.dtype), x.ndim
        if self._weights is None or self._weights[0] != key:
            there = xp.asarray(list(given), dtype=key[1], device=key[0])
            self._weights = key, xp.reshape(there, (-1,) + (1,) * (x.ndim - 2))
        return self._weights[1]


def _check_class_weights(weights: Any) -> tuple[float, ...] | None:
    if weights is None:
        return None
    if hasattr(weights, "shape"):
        weights = to_host(weights)
    if isinstance(weights, str | dict) or not isinstance(weights, Iterable):
        raise TypeError(f"class_weights must be a list with a number per class, got {weights!r}")
    return tuple(check_number("class_weights", weight, at_least=0) for weight in weights)


@along
def _cross_entropy(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
    """The mean cross entropy and its gradient with respect to the scores."""

    def loss_and_gradient(x: Array, t: Array, share: float, axis: int) -> tuple[Array, Array]:
        shifted = x - xp.max(x, axis=axis, keepdims=True)
        e = xp.exp(shifted)
        total = xp.sum(e, axis=axis, keepdims=True)
        t = xp.astype(t, x.dtype, copy=False)
        # where(), because a score of -inf times a target of 0 is NaN
        loss = xp.sum(xp.where(t != 0, xp.log(total) - shifted, 0.0) * t) * share
        weight = xp.sum(t, axis=axis, keepdims=True)
        return loss, e * (weight * share / total) - t * share

    return loss_and_gradient


@along
def _capped(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
    """The mean cross entropy of probabilities p + epsilon, and its gradient."""

    def loss_and_gradient(
        x: Array, t: Array, share: float, epsilon: float, axis: int
    ) -> tuple[Array, Array]:
        e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
        p = e / xp.sum(e, axis=axis, keepdims=True)
        t = xp.astype(t, x.dtype, copy=False) * share
        slope = t * p / (p + epsilon)  # minus the derivative of the loss by p, times p
        return (
            -xp.sum(t * xp.log(p + epsilon)),
            p * xp.sum(slope, axis=axis, keepdims=True) - slope,
        )

    return loss_and_gradient


@functools.cache
def _formula(
    capped: bool, of_labels: bool, class_weights: bool, weights: bool, smoothing: bool
) -> along:
    """Return the formula for some options, which changes the target rows of the plain one.

    Its operands are the scores; the labels, classes and number of classes, or the target rows; the
    classes' weights, the samples' weights and the fraction to smooth, as asked for; then the
    numbers of the plain formula.
    """
    plain = _capped if capped else _cross_entropy
    if not (of_labels or class_weights or weights or smoothing):
        return plain

    def loss_and_gradient(xp: ModuleType) -> Callable[..., Any]:
        of_targets = plain.function(xp)

        def results(x: Array, t: Array, *others: Any, axis: int) -> Any:
            if of_labels:
                classes, end, *others = others  # type: ignore[assignment]
                labels = t
                # a label out of range matches no class and would otherwise add nothing to the loss
                t = xp.astype(labels == classes, x.dtype)
                t = xp.where((labels >= 0) & (labels < end), t, math.nan)
            elif class_weights or weights or smoothing:
                t = xp.astype(t, x.dtype, copy=False)
            if class_weights:
                of_class, *others = others  # type: ignore[assignment]
                t = t * of_class
            if weights:
                of_sample, *others = others  # type: ignore[assignment]
                t = t * xp.astype(of_sample, x.dtype, copy=False)
            if smoothing:
                s, *others = others  # type: ignore[assignment]
                t = (1 - s) * t + s * xp.mean(t, axis=axis, keepdims=True)
            return of_targets(x, t, *others, axis=axis)

        return results

    options = {
        "of_labels": of_labels, "of_weighted_classes": class_weights, "weighted": weights,
        "smoothed": smoothing,
    }  # fmt: skip
    named = [name for name, given in options.items() if given]
    loss_and_gradient.__name__ = "_".join([plain.__name__, *named])
    return along(loss_and_gradient)
