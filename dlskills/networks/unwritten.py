"""Detection of custom layers that do not write their gradients, or add to them."""

from __future__ import annotations

from collections.abc import Sequence

from dlskills.arrays.backend import Array, namespace, to_host
from dlskills.layers import Layer
from dlskills.networks.joined import Step

# A gradient that still holds this value after a pass was not written, and one close to it was added
# to. Half precision can represent it, too.
_MARK = -54336.0
_CLOSE = 500.0  # larger than gradients are, small enough that no gradient is this near by chance


class UnwrittenGradients:
    """Check, in a network's first training pass, that custom layers write their gradients.

    A gradient that is never written would be 0, and one that is added to would sum up over the
    batches. A layer may add if it sets its gradients to 0 in its forward pass.

    Parameters
    ----------
    layers : sequence of Layer
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        # dlskills' own layers do, and a check would wait for the device
        self._due = [
            layer
            for layer in layers
            if layer.params and not type(layer).__module__.startswith("dlskills.")
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
        grads = dict(layer.grads)  # a layer may rebind `grads`
        dx = layer.backward(dout)
        try:
            for name, grad in grads.items():
                _check(layer, name, grad)
        finally:
            for grad in grads.values():  # elements that the layer leaves at 0
                grad[...] = namespace(grad).where(grad == _MARK, 0.0, grad)
        self._due = [other for other in self._due if other is not layer]
        return dx


def _check(layer: Layer, name: str, grad: Array) -> None:
    xp = namespace(grad)
    if 0 in grad.shape:
        return
    if bool(to_host(xp.all(grad == _MARK))):
        raise RuntimeError(
            f"{layer!r} declares a parameter {name!r}, and its backward wrote no gradient for it; "
            f"write it into self.grads[{name!r}], such as self.grads[{name!r}][...] = ..."
        )
    if bool(to_host(xp.all(xp.abs(grad - _MARK) < _CLOSE))):
        grad[...] = 0.0
        raise RuntimeError(
            f"{layer!r} adds to the gradient of its parameter {name!r}, which sums up over the "
            f"batches; replace it, such as self.grads[{name!r}][...] = ..."
        )
