"""Detection of declared gradients that a custom layer's backward pass does not write."""

from __future__ import annotations

from collections.abc import Sequence

from dlskills.arrays.backend import Array, namespace, to_host
from dlskills.layers import Layer
from dlskills.networks.joined import Step

# A gradient that still holds this value after a backward pass was not written. Half precision can
# represent it, too.
_MARK = -54336.0


class UnwrittenGradients:
    """Check, in a network's first backward pass, that custom layers write their gradients.

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

    def backward(self, step: Step, dout: Array) -> Array:
        """Run the step's own `backward`; the first time, check the gradients it wrote.

        Raises
        ------
        RuntimeError
            A declared gradient was not written.
        """
        layer = next((layer for layer in self._due if layer is step), None)
        if layer is None:
            return step.backward(dout)
        grads = dict(layer.grads)  # a layer may rebind `grads`
        for grad in grads.values():
            grad[...] = 0.0
        dx = layer.backward(dout)
        zero = {name: grad for name, grad in grads.items() if _all_are(grad, 0.0)}
        if zero:  # either truly zero or never written
            _check_written(layer, zero, dout)
        self._due = [other for other in self._due if other is not layer]
        return dx


def _check_written(layer: Layer, grads: dict[str, Array], dout: Array) -> None:
    for grad in grads.values():
        grad[...] = _MARK
    try:
        layer.backward(dout)
        unwritten = [name for name, grad in grads.items() if _all_are(grad, _MARK)]
    finally:
        for grad in grads.values():
            grad[...] = 0.0
    for name in unwritten[:1]:
        raise RuntimeError(
            f"{layer!r} declares a parameter {name!r}, and its backward wrote no gradient for it; "
            f"write it into self.grads[{name!r}], such as self.grads[{name!r}][...] = ..."
        )


def _all_are(array: Array, number: float) -> bool:
    return 0 not in array.shape and bool(to_host(namespace(array).all(array == number)))
