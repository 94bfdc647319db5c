"""The base class of layers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlskills.arrays.backend import Array
from dlskills.initializers import Initializer


@dataclass(frozen=True)
class Declared:
    """The shape and the initializer of a parameter that a layer declares."""

    shape: tuple[int, ...]
    initializer: Initializer


class Layer:
    """Base class for layers.

    A subclass implements :meth:`forward` and :meth:`backward` with the namespace of the arrays it
    is given (:func:`dlskills.namespace`). A layer with parameters also implements :meth:`declare`,
    reads ``self.params["W"]`` and writes its gradient *into* ``self.grads["W"]``. Both are views of
    the network's flat buffers, passed to the layer by :meth:`bind`.

    Attributes
    ----------
    params, grads : mapping of str to array
        Views of the parameters and gradients; empty for a layer without parameters.
    propagates : bool
        False for a network's first layer with parameters. No earlier layer needs the gradient of
        its input, so `backward` may skip it and return None.
    """

    params: MutableMapping[str, Array]
    grads: MutableMapping[str, Array]
    propagates: bool = True

    _saved: Any = None
    """Values that the last forward pass saved for backward, read by :func:`saved`."""

    def declare(self) -> dict[str, Declared]:
        """Return the layer's parameters by name."""
        return {}

    def bind(self, params: MutableMapping[str, Array], grads: MutableMapping[str, Array]) -> None:
        """Store the views of this layer's parameters and gradients."""
        self.params, self.grads = params, grads

    def seed(self, seed: int, name: str) -> None:
        """Seed the layer's random stream, if it has one."""

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of one sample's output, given the shape of its input.

        Raises
        ------
        ValueError
            The layer does not accept this input shape.
        """
        return input_shape

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """The shape of one sample's input; None if the layer accepts any shape."""
        return None

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        """Return the layer's output.

        Parameters
        ----------
        x : array, shape (N, ...)
            N samples.
        train_flg : bool, default True
            True for training, False for inference. Dropout and Batch Norm behave differently at
            inference.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(x, train_flg)")

    def backward(self, dout: Array) -> Array:
        """Return the gradient of the loss with respect to the input of the last `forward`.

        Gradients of the parameters are written into `grads`.

        Parameters
        ----------
        dout : array
            The gradient of the loss with respect to the layer's output.
        """
        raise NotImplementedError(f"{type(self).__name__} must define backward(dout)")

    # State: what changes between passes other than parameters, such as running averages.

    def get_state(self) -> dict[str, Any]:
        """Return the state from which :meth:`set_state` can repeat the following passes.

        It is read at every training step, so its arrays need not be copies: layers replace these
        arrays and never write into them.
        """
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state returned by :meth:`get_state`."""

    def settings(self) -> dict[str, Any]:
        """The keyword arguments that make such a layer, for :meth:`Sequential.save`.

        By default each argument of the constructor is looked up in the attribute of its name. A
        layer that keeps an argument elsewhere overrides this.

        Returns
        -------
        dict
            None, numbers, strings, lists and dicts of them, or initializers.

        Raises
        ------
        TypeError
            There is no such attribute.
        """
        return settings_of(self)

    def __getstate__(self) -> dict[str, Any]:
        # A copied network binds its own views, and a saved network should not hold the last batch.
        left_out = ("params", "grads", "_saved")
        return {key: value for key, value in vars(self).items() if key not in left_out}

    if not TYPE_CHECKING:  # otherwise type checkers would accept any attribute

        def __getattr__(self, name: str) -> Any:
            if name in ("params", "grads"):
                if not self.declare():
                    return {}
                raise AttributeError(
                    f"this {type(self).__name__} has no parameters yet, since it is not part of a "
                    "network. Put it into Sequential([...])"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def settings_of(made: Any) -> dict[str, Any]:
    """The arguments of an object's constructor, from the attributes of the same names.

    Raises
    ------
    TypeError
        There is no such attribute, or the constructor takes any number of arguments.
    """
    settings = {}
    for name, parameter in inspect.signature(type(made)).parameters.items():
        variable = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if variable or not hasattr(made, name):
            raise TypeError(
                f"{type(made).__name__} has no attribute {name!r} for the argument of its "
                "constructor; keep it in one, or define settings()"
            )
        settings[name] = getattr(made, name)
    return settings


def saved(layer: Any) -> Any:
    """Return the values that forward saved for backward.

    Raises
    ------
    RuntimeError
        `forward` has not been called.
    """
    if layer._saved is None:
        raise RuntimeError(
            f"{type(layer).__name__}.backward needs values from a forward pass. Call forward first"
        )
    return layer._saved
