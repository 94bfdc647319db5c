"""Affine layers fused with their activations: one pass over memory instead of two."""

from __future__ import annotations

from collections.abc import Sequence

from dlskills.arrays.backend import Array
from dlskills.formulas import engine_for
from dlskills.layers import Activation, Affine, Layer


class AffineActivation:
    """An Affine layer and the activation after it.

    The activation's pass also adds the bias, and the pass of its derivative also sums the bias's
    gradient. Engines that do not fuse a formula into one pass would gain nothing; there, the
    layers run one after the other.
    """

    def __init__(self, affine: Affine, activation: Activation) -> None:
        self.affine, self.activation = affine, activation
        self._joined = False  # in the last forward pass

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        if _is_hooked(self.affine) or _is_hooked(self.activation):
            self._joined = False
            return self.activation.forward(self.affine.forward(x, train_flg), train_flg)
        y = self.affine.product(x)
        bias = self.affine.params["b"]
        self._joined = engine_for(y).fuses
        if self._joined:
            return self.activation.forward_biased(y, bias)
        y += bias
        return self.activation.forward(y, train_flg)

    def backward(self, dout: Array) -> Array:
        if not self._joined:
            return self.affine.backward(self.activation.backward(dout))
        params, grads = self.affine.params, self.affine.grads
        return self.affine.backward_product(
            self.activation.backward_biased(dout, params["b"], grads["b"])
        )


def _is_hooked(layer: Layer) -> bool:
    """Whether the instance has its own methods, such as a hook around forward."""
    own = vars(layer)
    return "forward" in own or "backward" in own


Step = Layer | AffineActivation


def steps(layers: Sequence[Layer]) -> list[Step]:
    """Return the layers, with each Affine layer and its activation fused."""
    made: list[Step] = []
    for layer in layers:
        before = made[-1] if made else None
        if isinstance(before, Affine) and _adds_bias(before) and _is(layer, Activation):
            made[-1] = AffineActivation(before, layer)  # type: ignore[arg-type]
        else:
            made.append(layer)
    return made


def _adds_bias(layer: Affine) -> bool:
    return layer.bias and _is(layer, Affine)


def _is(layer: Step, kind: type[Layer]) -> bool:
    """Whether a layer is of this kind and does not override its passes."""
    return isinstance(layer, kind) and all(
        getattr(type(layer), name) is getattr(kind, name) for name in ("forward", "backward")
    )
