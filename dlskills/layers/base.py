"""What a layer is."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlskills.arrays.backend import Array
from dlskills.initializers import Initializer


@dataclass(frozen=True)
class Declared:
    """A parameter that a layer wants: its shape and how it starts."""

    shape: tuple[int, ...]
    initializer: Initializer


class Layer:
    """A step of a network: :meth:`forward`, :meth:`backward`, and perhaps parameters.

    A layer of one's own derives from this class and writes `forward` and `backward`, with the
    namespace of the arrays it is given (:func:`dlskills.namespace`). If it learns, it also writes
    `declare`, reads ``self.params["W"]`` and writes its gradient *into* ``self.grads["W"]``: both
    are views of the network's flat buffers, handed over by :meth:`bind`.

    Attributes
    ----------
    params, grads : mapping of str to array
        The views, empty for a layer without parameters.
    propagates : bool
        False for a network's first layer with parameters: no layer before it learns, so
        `backward` need not compute the gradient of its input, and may return None.
    """

    params: MutableMapping[str, Array]
    grads: MutableMapping[str, Array]
    propagates: bool = True

    _saved: Any = None
    """What the last forward pass kept for backward; :func:`saved` reads it."""

    def declare(self) -> dict[str, Declared]:
        """The parameters that the layer wants, by name."""
        return {}

    def bind(self, params: MutableMapping[str, Array], grads: MutableMapping[str, Array]) -> None:
        """Take over the views of this layer's parameters and gradients."""
        self.params, self.grads = params, grads

    def seed(self, seed: int, name: str) -> None:
        """Start the layer's stream of random numbers, if it has one."""

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one sample's output, from that of its input.

        Raises
        ------
        ValueError
            The layer can't take such an input.
        """
        return input_shape

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """The shape of one sample's input, None where the layer takes any."""
        return None

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        """The layer's output.

        Parameters
        ----------
        x : array, shape (N, ...)
            N samples.
        train_flg : bool, default True
            Whether this is training; Dropout and Batch Norm act differently in a test.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(x, train_flg)")

    def backward(self, dout: Array) -> Array:
        """The gradient of the loss by the layer's input, from that by its output.

        Belongs to the last `forward`; gradients of the parameters are written into `grads`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define backward(dout)")

    # What changes from pass to pass and is no parameter: running means, places in a stream.

    def get_state(self) -> dict[str, Any]:
        """What :meth:`set_state` needs to repeat the passes that follow.

        It is asked for at each step of training, so arrays in it need not be copies: no layer
        writes into them, a pass puts new ones in their place.
        """
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to a state of :meth:`get_state`."""

    def __getstate__(self) -> dict[str, Any]:
        # a copy of a view is no view: the copied network hands over its own; and a saved network
        # is no place for the last batch
        left_out = ("params", "grads", "_saved")
        return {key: value for key, value in vars(self).items() if key not in left_out}

    if not TYPE_CHECKING:  # a type checker would take any attribute for granted

        def __getattr__(self, name: str) -> Any:
            if name in ("params", "grads"):
                if not self.declare():
                    return {}
                raise AttributeError(
                    f"this {type(self).__name__} is not part of a network yet, which gives a layer "
                    "its parameters; put it into Sequential([...])"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def saved(layer: Any) -> Any:
    """What forward kept for backward, or an error that says it has not run."""
    if layer._saved is None:
        raise RuntimeError(
            f"{type(layer).__name__}.backward needs the values of a forward pass; call forward "
            "before it"
        )
    return layer._saved
