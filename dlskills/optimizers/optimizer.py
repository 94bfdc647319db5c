"""What an optimizer is."""

from __future__ import annotations

import collections
import dataclasses
import weakref
from collections.abc import Mapping
from types import ModuleType
from typing import Any, ClassVar, dataclass_transform

import array_api_compat
import numpy as np

from dlskills.backend import backend_of, namespace
from dlskills.checks import check_number
from dlskills.optimizers import engines
from dlskills.optimizers.engines import Update
from dlskills.parameters import Parameters


@dataclass_transform(eq_default=False)
class Optimizer:
    """Updates parameters by their gradients, each element by the same formula.

    A subclass states three things, and is a dataclass without being told:

    1. its hyperparameters, as annotated fields: ``lr: float = 0.01``;
    2. `slots`, the names of what it remembers for each element, 0 at first;
    3. `rule`, the formula, and `coefficients`, the numbers that go into it.

    Attributes
    ----------
    lr : float
        The learning rate. Hyperparameters may be changed between steps.
    step : int
        The number of updates done.

    Examples
    --------
    An update rule of one's own, the sign of the gradient with momentum:

    >>> class SignMomentum(Optimizer):
    ...     lr: float = 0.01
    ...     momentum: float = 0.9
    ...     slots = ("v",)
    ...
    ...     def coefficients(self, step):
    ...         return self.lr, self.momentum
    ...
    ...     @staticmethod
    ...     def rule(xp):
    ...         def update(param, grad, v, lr, momentum):
    ...             v *= momentum
    ...             v += grad
    ...             param -= lr * xp.sign(v)
    ...             return param, v
    ...         return update
    >>> params = {"x": 1.0}
    >>> SignMomentum(lr=0.25).update(params, {"x": 3.0})
    >>> params
    {'x': 0.75}
    """

    lr: float
    slots: ClassVar[tuple[str, ...]] = ()

    step = 0
    _state = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        dataclasses.dataclass(eq=False)(cls)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            if field.type in ("float", float):
                value = check_number(field.name, getattr(self, field.name), **_RANGES[field.name])
                setattr(self, field.name, value)

    def coefficients(self, step: int) -> tuple[float, ...]:
        """The numbers that the formula takes after its arrays, for update number `step` >= 1.

        Computed once a step, on the host, as Python floats.
        """
        raise NotImplementedError(f"{type(self).__name__} must define coefficients(step)")

    @staticmethod
    def rule(xp: ModuleType) -> Update:
        """The formula: given a namespace, a function of an element's numbers or of whole arrays.

        ``update(param, grad, *slots, *coefficients)`` changes `param` and the slots in place
        *and* returns them, (param, *slots), so that the one text serves arrays, plain numbers,
        compiled loops and GPU kernels. It must not change `grad`.
        """
        raise NotImplementedError("an optimizer must define rule(xp)")

    def update(self, params: Any, grads: Any) -> None:
        """Take one step: change `params` by `grads`.

        Parameters
        ----------
        params : Parameters or mutable mapping of str to array or number
            Arrays are changed in place. Numbers, which can't be, are replaced in the mapping.
        grads : mapping of str to array or number
            A gradient for each parameter, of its shape, dtype and device.

        Raises
        ------
        KeyError
            A parameter has no gradient.
        ValueError
            A gradient has another shape than its parameter.
        TypeError
            A gradient has another dtype or device, or is of another library.
        RuntimeError
            The optimizer has state that belongs to other parameters.
        """
        paired = isinstance(params, Parameters) and params.pairs_with(grads)
        if not paired:
            _check_gradients(params, grads)
        state = self._state_of(params)
        step = self.step + 1
        coefficients = tuple(map(float, self.coefficients(step)))
        self.step = step
        if paired:  # one pass over the flat buffers does for all parameters
            slots = [state[slot].flat for slot in self.slots]
            with params.backend.active():
                engines.run(type(self).rule, [params.flat, grads.flat, *slots], coefficients)
            return
        for key, param in list(params.items()):
            slots = [state[slot][key] for slot in self.slots]
            if _is_mutable(param):
                with backend_of(param).active():
                    engines.run(type(self).rule, [param, grads[key], *slots], coefficients)
            else:
                params[key], *slots = engines.evaluate(
                    type(self).rule, [param, grads[key], *slots], coefficients
                )
                for slot, value in zip(self.slots, slots, strict=True):
                    state[slot][key] = value

    def reset(self) -> None:
        """Forget state, steps and parameters, as if newly made."""
        self.step, self._state = 0, None

    def _state_of(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """The slots for these parameters, made at the first update."""
        if not self.slots:
            return {}
        if self._state is None:
            self._state = _State(self.slots, params)
        elif not self._state.belongs_to(params):
            raise RuntimeError(
                f"this {type(self).__name__} holds {' and '.join(self.slots)} of other parameters "
                "than it is given now; make one optimizer for each network, or call reset() to "
                "start anew"
            )
        return self._state.slots


class _State:
    """The slots of an optimizer, and the parameters that they belong to."""

    def __init__(self, names: tuple[str, ...], params: Mapping[str, Any]) -> None:
        self.slots = {name: _zeros_like(params) for name in names}
        self._remember(params)

    def _remember(self, params: Mapping[str, Any]) -> None:
        self._shapes = {key: _shape(param) for key, param in params.items()}
        # weak, as an optimizer should not keep a network alive
        self._mapping = weakref.ref(params) if isinstance(params, Parameters) else None
        self._arrays = {
            key: weakref.ref(param) for key, param in params.items() if not _is_number(param)
        }

    def belongs_to(self, params: Mapping[str, Any]) -> bool:
        if self._mapping is not None and self._mapping() is params:
            return True
        if {key: _shape(param) for key, param in params.items()} != self._shapes:
            return False
        known = {key: ref() for key, ref in self._arrays.items()}
        if any(params[key] is array for key, array in known.items()):
            return True
        # None of the arrays is one we know. If those live on elsewhere, this is another network;
        # if they are gone, the same one was loaded or built anew.
        if any(array is not None for array in known.values()):
            return False
        self._remember(params)
        return True

    def __getstate__(self) -> dict[str, Any]:
        return {"slots": self.slots, "shapes": self._shapes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.slots, self._shapes = state["slots"], state["shapes"]
        self._mapping, self._arrays = None, {}


_RANGES: collections.defaultdict[str, dict[str, float]] = collections.defaultdict(dict)
_RANGES |= {
    "lr": {"at_least": 0},
    "momentum": {"at_least": 0, "below": 1},
    "decay_rate": {"at_least": 0, "below": 1},
    "rho": {"at_least": 0, "below": 1},
    "beta1": {"at_least": 0, "below": 1},
    "beta2": {"at_least": 0, "below": 1},
    "epsilon": {"at_least": 0},
    "weight_decay": {"at_least": 0},
    "momentum_decay": {"at_least": 0},
}


def _check_gradients(params: Mapping[str, Any], grads: Mapping[str, Any]) -> None:
    for key, param in params.items():
        try:
            grad = grads[key]
        except KeyError:
            raise KeyError(
                f"grads has no gradient for parameter {key!r}; it has: {', '.join(map(str, grads))}"
            ) from None
        if _is_number(param) and _is_number(grad):
            continue
        if _shape(grad) != _shape(param):
            raise ValueError(
                f"the gradient of {key!r} has shape {_shape(grad)}, its parameter {_shape(param)}"
            )
        if _is_number(param) or _is_number(grad):
            kinds = type(grad).__name__, type(param).__name__
            raise TypeError(
                f"the gradient of {key!r} is a {kinds[0]}, its parameter a {kinds[1]}; make both "
                "numbers or both arrays"
            )
        if backend_of(grad) != backend_of(param):
            raise TypeError(
                f"the gradient of {key!r} is on {backend_of(grad)}, its parameter on "
                f"{backend_of(param)}; move one of them with dlskills.to_device(...)"
            )
        if grad.dtype != param.dtype:
            raise TypeError(
                f"the gradient of {key!r} has dtype {grad.dtype}, its parameter {param.dtype}; "
                "convert one of them with astype(...)"
            )
        if isinstance(param, np.ndarray) and not param.flags.writeable:
            raise ValueError(f"parameter {key!r} is a read-only array; give a copy of it")
        if not namespace(param).isdtype(param.dtype, "real floating"):
            raise TypeError(
                f"parameter {key!r} has dtype {param.dtype}; only floating-point numbers can "
                "take small steps: convert it to float32 or float64"
            )


def _is_number(value: Any) -> bool:
    """Whether a value is a scalar that can't be changed in place (bool is refused as one)."""
    return isinstance(value, int | float | np.generic) and not isinstance(value, bool)


def _is_mutable(value: Any) -> bool:
    if type(value) is np.ndarray:
        return True
    return not _is_number(value) and array_api_compat.is_writeable_array(value)


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(getattr(value, "shape", ()))


def _zeros_like(params: Mapping[str, Any]) -> Any:
    if isinstance(params, Parameters):
        return params.zeros_like()
    return {
        key: 0.0 if _is_number(param) else namespace(param).zeros_like(param)
        for key, param in params.items()
    }
