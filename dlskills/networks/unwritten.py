"""Gradients that a layer declared and its backward pass did not write."""

from __future__ import annotations

from collections.abc import Sequence

from dlskills.arrays.backend import Array, namespace, to_host
from dlskills.layers import Layer
from dlskills.networks.joined import Step

# A gradient that is still this after a backward pass was not written; half precision has it, too.
_MARK = -54336.0


class UnwrittenGradients:
    """Checks in a network's first backward pass that each layer of a user's writes its gradients.

    Parameters
    ----------
    layers : sequence of Layer
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        # dlskills' own do, and to look would wait for the device
        self._due = [
            layer
            for layer in layers
            if layer.params and not type(layer).__module__.startswith("dlskills.")
        ]

    def backward(self, step: Step, dout: Array) -> Array:
        """The step's own `backward`; the first time, its gradients are looked at.

        Raises
        ------
        RuntimeError
            A declared gradient was not written.
        """
        layer = next((layer for layer in self._due if layer is step), None)
        if layer is None:
            return step.backward(dout)
        grads = dict(layer.grads)  # a layer may rebind its own
        for grad in grads.values():
            grad[...] = 0.0
        dx = layer.backward(dout)
        zero = {name: grad for name, grad in grads.items() if _all_are(grad, 0.0)}
        if zero:  # because it is, or because it was not written
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
