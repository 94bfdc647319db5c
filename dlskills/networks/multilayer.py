"""The tutorial's networks: fully connected layers, with optional Batch Norm and Dropout."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from dlskills.arrays.backend import Device, DType
from dlskills.checks import check_choice, check_count, check_number, known_keywords
from dlskills.initializers import Initializer
from dlskills.layers import ACTIVATIONS, Affine, BatchNormalization, Dropout, Layer, Loss
from dlskills.networks.keywords import FOR_EXTENDED, FOR_MULTILAYER
from dlskills.networks.sequential import Sequential


class MultiLayerNet(Sequential):
    """Fully connected layers with an activation after each but the last.

    Parameters
    ----------
    input_size : int
        784 for MNIST.
    hidden_size_list : sequence of int
        The number of units of each hidden layer, such as ``[100, 100, 100]``.
    output_size : int
        10 for MNIST.
    activation : str, default "relu"
        ``"relu"``, ``"leakyrelu"``, ``"elu"``, ``"selu"``, ``"softplus"``, ``"sigmoid"``,
        ``"tanh"``, ``"gelu"``, ``"swish"`` or ``"silu"``, in any case.
    weight_init_std : float, str or Initializer, default "relu"
        A standard deviation such as 0.01; ``"relu"`` or ``"he"``; ``"sigmoid"`` or ``"xavier"``; or
        the name of the activation, for initial values that fit it. The default, He's, fits the
        rectifiers, GELU and Swish. For tanh and sigmoid it is too large: give ``"xavier"``. For
        SELU give ``"selu"``.
    weight_decay_lambda : float, default 0
    loss : Loss, optional
        Default :class:`~dlskills.SoftmaxWithLoss`.
    seed, device, dtype, compute_dtype, loss_scale, xp
        See :class:`Sequential`.

    Examples
    --------
    >>> MultiLayerNet(784, [100, 100], 10, seed=1)
    MultiLayerNet(784, [100, 100], 10, activation='relu', weight_init_std='relu', seed=1)
    """

    @known_keywords(FOR_MULTILAYER)
    def __init__(
        self,
        input_size: int,
        hidden_size_list: Sequence[int],
        output_size: int,
        activation: str = "relu",
        weight_init_std: float | str | Initializer = "relu",
        weight_decay_lambda: float = 0,
        *,
        loss: Loss | None = None,
        seed: int | None = None,
        device: str | Device | None = None,
        dtype: str | DType = "float32",
        compute_dtype: str | DType | None = None,
        loss_scale: float | None = None,
        xp: ModuleType | None = None,
    ) -> None:
        self.input_size = check_count("input_size", input_size)
        self.hidden_size_list = _check_sizes(hidden_size_list)
        self._output_size = check_count("output_size", output_size)
        self.activation = check_choice("activation", activation, ACTIVATIONS)
        self.weight_init_std = weight_init_std
        super().__init__(
            self._make_layers(),
            loss,
            weight_decay_lambda=weight_decay_lambda,
            seed=seed,
            device=device,
            dtype=dtype,
            compute_dtype=compute_dtype,
            loss_scale=loss_scale,
            xp=xp,
        )

    def _make_layers(self) -> list[Layer]:
        layers: list[Layer] = []
        size = self.input_size
        for hidden_size in self.hidden_size_list:
            layers.append(Affine(size, hidden_size, self.weight_init_std))
            layers.extend(self._between(hidden_size))
            size = hidden_size
        return [*layers, Affine(size, self._output_size, self.weight_init_std)]

    def _between(self, size: int) -> list[Layer]:
        """Return the layers that follow a hidden Affine layer of this size."""
        return [ACTIVATIONS[self.activation]()]

    def settings(self) -> dict[str, Any]:
        return {
            "input_size": self.input_size,
            "hidden_size_list": self.hidden_size_list,
            "output_size": self._output_size,
            "activation": self.activation,
            "weight_init_std": self.weight_init_std,
        }

    def _settings(self) -> list[str]:
        sizes = [repr(self.input_size), repr(self.hidden_size_list), repr(self._output_size)]
        how = [f"activation={self.activation!r}", f"weight_init_std={self.weight_init_std!r}"]
        return sizes + how + super()._settings()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._settings())})"


class MultiLayerNetExtend(MultiLayerNet):
    """:class:`MultiLayerNet` with Batch Normalization and Dropout.

    Each hidden Affine layer is followed by Batch Norm (optional), the activation, and Dropout
    (optional).

    Parameters
    ----------
    input_size, hidden_size_list, output_size, activation, weight_init_std, weight_decay_lambda
        As for :class:`MultiLayerNet`.
    use_dropout : bool, default False
    dropout_ratio : float, default 0.5
        The fraction of units that is dropped. The tutorial's spelling ``dropout_ration=`` is
        accepted.
    use_batchnorm : bool, default False
    inverted_dropout : bool, default False
        See :class:`~dlskills.Dropout`.
    batchnorm_debias : bool, default True
        Whether Batch Norm's running averages are corrected for their start at 0, which the book
        does not do; see
        :class:`~dlskills.BatchNormalization`.
    input_dropout_ratio : float, default 0.0
        Fraction of the network's inputs that Dropout sets to 0, whatever `use_dropout` is.
    loss, seed, device, dtype, compute_dtype, loss_scale, xp
        See :class:`Sequential`.
    """

    @known_keywords(FOR_EXTENDED)
    def __init__(
        self,
        input_size: int,
        hidden_size_list: Sequence[int],
        output_size: int,
        activation: str = "relu",
        weight_init_std: float | str | Initializer = "relu",
        weight_decay_lambda: float = 0,
        use_dropout: bool = False,
        dropout_ratio: float = 0.5,
        use_batchnorm: bool = False,
        *,
        inverted_dropout: bool = False,
        batchnorm_debias: bool = True,
        input_dropout_ratio: float = 0.0,
        dropout_ration: float | None = None,
        loss: Loss | None = None,
        seed: int | None = None,
        device: str | Device | None = None,
        dtype: str | DType = "float32",
        compute_dtype: str | DType | None = None,
        loss_scale: float | None = None,
        xp: ModuleType | None = None,
    ) -> None:
        self.use_dropout = use_dropout
        ratio = dropout_ratio if dropout_ration is None else dropout_ration
        self.dropout_ratio = check_number("dropout_ratio", ratio, at_least=0, below=1)
        self.use_batchnorm = use_batchnorm
        self.inverted_dropout = inverted_dropout
        self.batchnorm_debias = batchnorm_debias
        self.input_dropout_ratio = check_number(
            "input_dropout_ratio", input_dropout_ratio, at_least=0, below=1
        )
        super().__init__(
            input_size,
            hidden_size_list,
            output_size,
            activation,
            weight_init_std,
            weight_decay_lambda,
            loss=loss,
            seed=seed,
            device=device,
            dtype=dtype,
            compute_dtype=compute_dtype,
            loss_scale=loss_scale,
            xp=xp,
        )

    def _make_layers(self) -> list[Layer]:
        layers = super()._make_layers()
        if self.input_dropout_ratio:
            layers.insert(0, Dropout(self.input_dropout_ratio, inverted=self.inverted_dropout))
        return layers

    def _between(self, size: int) -> list[Layer]:
        layers = super()._between(size)
        if self.use_batchnorm:
            layers.insert(0, BatchNormalization(size, debias=self.batchnorm_debias))
        if self.use_dropout:
            layers.append(Dropout(self.dropout_ratio, inverted=self.inverted_dropout))
        return layers

    def settings(self) -> dict[str, Any]:
        return super().settings() | {
            "use_dropout": self.use_dropout,
            "dropout_ratio": self.dropout_ratio,
            "use_batchnorm": self.use_batchnorm,
            "inverted_dropout": self.inverted_dropout,
            "batchnorm_debias": self.batchnorm_debias,
            "input_dropout_ratio": self.input_dropout_ratio,
        }

    def _settings(self) -> list[str]:
        settings = super()._settings()
        extras = []
        if self.use_dropout:
            extras = ["use_dropout=True", f"dropout_ratio={self.dropout_ratio:g}"]
        if self.input_dropout_ratio:
            extras.append(f"input_dropout_ratio={self.input_dropout_ratio:g}")
        if extras and self.inverted_dropout:
            extras.append("inverted_dropout=True")
        if self.use_batchnorm:
            extras.append("use_batchnorm=True")
            if not self.batchnorm_debias:
                extras.append("batchnorm_debias=False")
        return settings[:-1] + extras + settings[-1:]


def _check_sizes(hidden_size_list: Any) -> list[int]:
    """Return the sizes as a list of Python ints; refuse anything but a sequence."""
    try:
        if isinstance(hidden_size_list, str):
            raise TypeError
        sizes = list(hidden_size_list)
    except TypeError:
        raise TypeError(
            f"hidden_size_list must be a list, such as [100, 100], got {hidden_size_list!r}"
        ) from None
    return [check_count("each size in hidden_size_list", size) for size in sizes]
