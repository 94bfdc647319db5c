"""Detection of custom layers that do not write their gradients, or add to them."""

from __future__ import annotations

from collections.abc import Sequence

from dlskills.arrays.backend import Array, namespace, to_host
from dlskills.layers import Layer
from dlskills.networks.joined import Step

# A gradient that still holds this value after a pass was not written, and one close to it was added
# to. Half precision can represent it, too.
_MARK = -54336.0
_CLOSE = 500.0  # larger than most gradients are, and small beside the mark


class UnwrittenGradients:
    """Check, in a network's first training pass, that custom layers write their gradients.

    A gradient that is never written would be 0, and one that is added to would sum up over the
    batches. A layer may add if it sets its gradients to 0 in its forward pass. An addition is not
    noticed if an element is 500 or more, for example with a large `loss_scale`.

    Parameters
    ----------
    steps : sequence of Layer or AffineActivation
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        # dlskills' own layers do, and a check would wait for the device
        self._due = [
            step
            for step in steps
            if isinstance(step, Layer)
            and step.params
            and not type(step).__module__.startswith("dlskills.")
        ]

    def start(self) -> None:
        """Mark the gradients to check, before the forward pass."""
        for layer in self._due:
            for grad in layer.grads.values():
                grad[...] = _MARK

    def backward(self, step: Step, dout: Array) -> Array:
        """Run the step's own `backward`; the first time, check the gradients it wrote.

        Raises
        ------
        RuntimeError
            A declared gradient was not written, or was added to.
        """
        layer = next((layer for layer in self._due if layer is step), None)
        if layer is None:
            return step.backward(dout)
        marked = [grad for other in self._due for grad in other.grads.values()]
        grads = dict(layer.grads)  # a layer may rebind `grads`
        try:
            dx = layer.backward(dout)
            for name, grad in grads.items():
                _check(layer, name, grad, dout)
        except BaseException:
            for grad in marked:  # so that nobody takes the marks for gradients
                grad[...] = 0.0
            raise
        for grad in grads.values():  # elements that the layer leaves at 0
            grad[...] = namespace(grad).where(grad == _MARK, 0.0, grad)
        self._due = [other for other in self._due if other is not layer]
        return dx


def _check(layer: Layer, name: str, grad: Array, dout: Array) -> None:
    if 0 in grad.shape:
        return
    if bool(to_host(namespace(grad).all(grad == _MARK))):
        raise RuntimeError(
            f"{layer!r} declares a parameter {name!r}, and its backward wrote no gradient for it; "
            f"write it into self.grads[{name!r}], such as self.grads[{name!r}][...] = ..."
        )
    if not _is_near_mark(grad):
        return
    grad[...] = 0.0
    layer.backward(dout)
    if not _is_near_mark(grad):  # otherwise it was written, and is this large
        raise RuntimeError(
            f"{layer!r} adds to the gradient of its parameter {name!r}, which sums up over the "
            f"batches; replace it, such as self.grads[{name!r}][...] = ..."
        )


def _is_near_mark(grad: Array) -> bool:
    xp = namespace(grad)
    return bool(to_host(xp.all(xp.abs(grad - _MARK) < _CLOSE)))
