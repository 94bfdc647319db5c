"""Detection of custom layers that do not write their gradients, or add to them."""

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

    A gradient that is never written would be 0, and one that is added to would sum up.

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
            A declared gradient was not written, or was added to.
        """
        layer = next((layer for layer in self._due if layer is step), None)
        if layer is None:
            return step.backward(dout)
        grads = dict(layer.grads)  # a layer may rebind `grads`
        for grad in grads.values():
            grad[...] = 0.0
        copy = namespace(dout).asarray(dout, copy=True)  # a layer may change `dout` in place
        dx = layer.backward(dout)
        zero = {name: grad for name, grad in grads.items() if _all_are(grad, 0.0)}
        if zero:  # either truly zero or never written
            _check_written(layer, zero, copy)
        _check_overwritten(layer, {n: grad for n, grad in grads.items() if n not in zero}, copy)
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


def _check_overwritten(layer: Layer, grads: dict[str, Array], dout: Array) -> None:
    """Raise an error if a second backward pass adds to the gradients of the first."""
    before = {name: namespace(grad).asarray(grad, copy=True) for name, grad in grads.items()}
    if grads:
        layer.backward(dout)
    for name, grad in grads.items():
        added, once = grad - before[name], before[name]
        close = namespace(grad).abs(added - once) <= 1e-2 * namespace(grad).abs(once)
        grad[...] = once
        if bool(to_host(namespace(grad).all(close))):
            raise RuntimeError(
                f"{layer!r} adds to the gradient of its parameter {name!r}, which sums up over the "
                f"batches; replace it, such as self.grads[{name!r}][...] = ..."
            )


def _all_are(array: Array, number: float) -> bool:
    return 0 not in array.shape and bool(to_host(namespace(array).all(array == number)))
