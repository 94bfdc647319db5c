"""The base class of all optimizers."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import sys
from collections.abc import Collection, Mapping, MutableMapping
from types import ModuleType
from typing import Any, ClassVar, dataclass_transform

from dlskills.arrays.parameters import Parameters
from dlskills.checks import check_count
from dlskills.formulas.formula import Function, Update, rule_of
from dlskills.optimizers import modifiers, saving
from dlskills.optimizers.arguments import check_gradients, check_mappings
from dlskills.optimizers.clipping import clip_factor
from dlskills.optimizers.groups import ALL, Group, Names, assign_groups
from dlskills.optimizers.hyperparameters import (
    GROUP_NAMES,
    Number,
    OptionalNumber,
    ScaledRate,
    as_numbers,
    check_hyperparameter,
    is_number_kind,
)
from dlskills.optimizers.keywords import checked
from dlskills.optimizers.max_norm import limit_norms
from dlskills.optimizers.passes import Groups, NamedPlan, PairedPlan, plan_of
from dlskills.optimizers.schedules import Schedule
from dlskills.optimizers.state import State


def _annotated(cls: type) -> Collection[str]:
    """Return the names annotated in a class itself, without evaluating the annotations."""
    if sys.version_info >= (3, 14):  # annotations are evaluated lazily
        import annotationlib

        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(cls)


def _make_schedulable(cls: type, name: str) -> None:
    """Put a :class:`Number` in place of a default that the dataclass has recorded."""
    default = vars(cls).get(name, dataclasses.MISSING)
    if not isinstance(default, Number):
        number = Number(default)
        number.__set_name__(cls, name)
        setattr(cls, name, number)


@dataclass_transform(eq_default=False)
@dataclasses.dataclass(eq=False, repr=False)
class Optimizer:
    """Base class: updates parameters from their gradients by one elementwise formula.

    A subclass defines three things and becomes a dataclass automatically:

    1. its hyperparameters, as annotated fields: ``lr: float = 0.01``;
    2. `slots`, the names of its per-element state, initially 0;
    3. `rule`, the formula, and `coefficients`, the numbers that enter it.

    Every optimizer also takes the keyword arguments below. They are fused into the update's
    single pass over memory, in the order grad_scale, clip_norm, clip_value, weight_decay, the rule
    itself, bounds. Last comes max_weight_norm, in one more pass over the weights. All numbers,
    those of the rules included, may follow a schedule.

    Parameters
    ----------
    weight_decay : float, default 0.0
        Decoupled weight decay: ``param -= lr * weight_decay * param`` before the update
        (Loshchilov & Hutter, 2019, "Decoupled weight decay regularization"). For an L2 penalty in
        the loss, as in the tutorial, use `weight_decay_lambda` of a network. For SGD both give
        the same weights; in other rules the gradient of the penalty is rescaled or accumulated.
    grad_scale : float, default 1.0
        Factor applied to the gradients, such as 1 / n for a sum over n batches.
    clip_value : float, optional
        Each element of a gradient is clipped to ``[-clip_value, clip_value]``.
    clip_norm : float, optional
        Maximum global norm: if the Euclidean norm over all gradients, after `grad_scale`, is
        larger, all are scaled down (Pascanu, Mikolov & Bengio, 2013, "On the difficulty of
        training recurrent neural networks", algorithm 1). Costs one more read of the gradients
        and no write. Gradients of frozen parameters do not count.
    bounds : (low, high), optional
        After the update, each element is projected to ``[low, high]``; None for no bound, as in
        ``(0, None)`` for nonnegative weights (projected gradient descent; Zinkevich, 2003).
    max_weight_norm : float, optional
        Maximum norm of the incoming weights of a unit: after the update, each column of each
        parameter of 2 or more dimensions whose Euclidean norm is larger is scaled down to it
        (Srivastava et al., 2014, "Dropout: a simple way to prevent neural networks from
        overfitting", section 5.1; there 3 to 4). The units are along the last axis. Biases and
        frozen parameters are left as they are.
    decay : collection of str, or callable, optional
        The parameters that `weight_decay` applies to: their names, or a predicate of a name, such
        as ``lambda name: name.startswith("W")`` for weights but not biases. By default all.
    rates : mapping of str to float, optional
        Learning-rate factors by parameter name; 1 for all others.
    frozen : collection of str, or callable, default ()
        The parameters that are not updated: their names, or a predicate of a name. They need no
        gradient. Their slots are kept and used again once they are no longer frozen.

    Attributes
    ----------
    lr : float
        The learning rate of the next update. Set it to a number or to a schedule, a function of
        the number of updates done (:mod:`dlskills.optimizers.schedules`), as all other
        hyperparameters that are numbers: ``Momentum(momentum=Linear(0.5, 0.99, steps=1000))``. All
        may be changed between updates. In :meth:`coefficients` it includes the
        factor of the current parameter group from `rates`.
    step : int
        The number of updates done.

    Examples
    --------
    A custom update rule, the sign of the gradient with momentum:

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

    _: dataclasses.KW_ONLY
    weight_decay: Number = Number(0.0)
    grad_scale: Number = Number(1.0)
    clip_value: OptionalNumber = OptionalNumber(None)
    clip_norm: OptionalNumber = OptionalNumber(None)
    bounds: tuple[float | None, float | None] | None = None
    max_weight_norm: OptionalNumber = OptionalNumber(None)
    decay: Names | None = None
    rates: Mapping[str, float] | None = None
    frozen: Names = ()

    slots: ClassVar[tuple[str, ...]] = ()

    lr = ScaledRate()
    step = 0
    _state = None
    _plan = None
    _schedules: ClassVar[Mapping[str, Schedule]] = {}  # of hyperparameters other than lr
    _rate = 1.0  # factor of the group whose coefficients are being computed
    _clip_factor = staticmethod(clip_factor)  # replaced while other processes have more gradients

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not isinstance(vars(cls).get("rule", Optimizer.__dict__["rule"]), staticmethod):
            raise TypeError(f"{cls.__name__}.rule must be a @staticmethod: rule(xp)")
        if isinstance(cls.slots, str):
            raise TypeError(
                f"{cls.__name__}.slots must be a tuple of names, such as ({cls.slots!r},), got "
                f"{cls.slots!r}"
            )
        if "lr" in vars(cls) and "lr" not in _annotated(cls):
            raise TypeError(
                f"{cls.__name__}.lr must be annotated to be a hyperparameter: lr: float = "
                f"{vars(cls)['lr']!r}"
            )
        for name in GROUP_NAMES:
            if name in _annotated(cls):
                raise TypeError(
                    f"{cls.__name__} can't define the hyperparameter {name!r}: every optimizer "
                    "uses this name for parameter groups. Choose another name"
                )
        dataclasses.dataclass(eq=False, repr=False)(cls)
        cls.__init__ = checked(cls.__init__)  # type: ignore[method-assign]
        if "lr" in vars(cls):  # the default, already recorded by the dataclass
            cls.lr = Optimizer.lr
        for field in dataclasses.fields(cls):
            own = field.name in _annotated(cls) and field.name != "lr"
            if own and is_number_kind(str(field.type)):
                _make_schedulable(cls, field.name)

    def __setattr__(self, name: str, value: Any) -> None:
        field = type(self).__dataclass_fields__.get(name)
        if field is None or name == "lr":
            super().__setattr__(name, value)
            return
        value = check_hyperparameter(name, str(field.type), value)
        own, schedules = vars(self), dict(self._schedules)
        schedules.pop(name, None)
        if callable(value) and is_number_kind(str(field.type)):
            own.pop(name, None)  # so that reading it finds the class's Number
            own["_schedules"] = schedules | {name: value}
            return
        if schedules != self._schedules:
            own["_schedules"] = schedules
        super().__setattr__(name, value)

    def coefficients(self, step: int) -> tuple[float, ...]:
        """Return the numbers that the formula takes after its arrays.

        Called on the host, once per step and parameter group.

        Parameters
        ----------
        step : int
            The number of the update, counted from 1.

        Returns
        -------
        tuple of float
        """
        raise NotImplementedError(f"{type(self).__name__} must define coefficients(step)")

    @staticmethod
    def rule(xp: ModuleType) -> Update:
        """Return the update formula for an array namespace.

        Parameters
        ----------
        xp : module
            The array namespace, such as ``numpy``.

        Returns
        -------
        callable
            ``update(param, grad, *slots, *coefficients)``. It changes `param` and the slots in
            place *and* returns them as ``(param, *slots)``, so that one definition serves arrays,
            plain numbers, compiled loops and GPU kernels. It must not change `grad`.
        """
        raise NotImplementedError("an optimizer must define rule(xp)")

    def update(self, params: MutableMapping[str, Any], grads: Mapping[str, Any]) -> None:
        """Update the parameters once.

        Parameters
        ----------
        params : Parameters or mutable mapping of str to array or number
            Arrays are changed in place; numbers are replaced in the mapping.
        grads : mapping of str to array or number
            A gradient for each parameter, with its shape, dtype and device.

        Raises
        ------
        KeyError
            A parameter has no gradient.
        ValueError
            A gradient differs from its parameter in shape; or `decay`, `rates` or `frozen`
            contains an unknown name.
        TypeError
            A gradient differs from its parameter in dtype, device or library.
        RuntimeError
            The state of the optimizer belongs to other parameters.
        """
        groups, kinds = self._groups(params)
        plan = self._plan
        arrays = None if plan is None else plan.arrays(params, grads, groups)
        if plan is None or arrays is None:
            check_mappings(params, grads)
            plan = self._plan = self._new_plan(params, grads, groups)
            arrays = plan.first(params, grads)
        common, rule = self._modifiers(plan, arrays)
        numbers = [(*self._numbers_of(group), *common) for group in kinds]
        limit = self.max_weight_norm
        plan.run(arrays, rule_of(rule), numbers)
        vars(self)["step"] = self.step + 1  # also if the limit fails: the update is made
        if limit is not None:
            limit_norms(params, groups, limit)

    def _groups(self, params: Any) -> tuple[Groups, list[Group]]:
        """Return the group index of each parameter, and the groups."""
        if self.decay is None and self.rates is None and self.frozen == ():
            return None, ALL
        names = list(params) if isinstance(params, Mapping) else []
        return assign_groups(names, self.decay, self.rates, self.frozen)

    def _new_plan(self, params: Any, grads: Any, groups: Groups) -> PairedPlan | NamedPlan:
        """Check the gradients and return a plan for these parameters."""
        if not (isinstance(params, Parameters) and params.pairs_with(grads)):
            pairs = zip(params, groups or (), strict=False)
            check_gradients(params, grads, [name for name, group in pairs if group is None])
        state = self._state_of(params)
        return plan_of(params, grads, [state[slot] for slot in self.slots], groups)

    def prepare(self, params: MutableMapping[str, Any]) -> None:
        """Allocate the state for these parameters before the first update.

        Allocation failures then surface before training, and :meth:`state_dict` is complete from
        the start.

        Parameters
        ----------
        params : Parameters or mapping of str to array or number

        Raises
        ------
        RuntimeError
            The state of the optimizer belongs to other parameters.
        """
        self._state_of(params)

    def _formula(self) -> Function:
        """Return the rule; an optimizer with variants returns the one that is chosen."""
        return type(self).rule

    def _modifiers(self, plan: PairedPlan | NamedPlan, arrays: Any) -> tuple[list[Any], Function]:
        """Return the coefficients of the active modifiers, and the rule with them applied."""
        rule = self._formula()
        common: list[Any] = []  # appended to those of each group
        if self.weight_decay:
            rule = modifiers.decayed(rule)
        if self.bounds is not None:
            rule = modifiers.bounded(rule)
            common.extend(as_numbers(self.bounds))
        if self.clip_value is not None:
            rule = modifiers.clipped(rule)
            common.append(self.clip_value)
        if self.clip_norm is not None:
            rule = modifiers.scaled(rule)
            factor = self._clip_factor(plan.gradients(arrays), self.clip_norm, self.grad_scale)
            common.append(factor)
        elif self.grad_scale != 1:
            rule = modifiers.scaled(rule)
            common.append(self.grad_scale)
        return common, rule

    def _numbers_of(self, group: Group) -> tuple[Any, ...]:
        """Return the coefficients of a group, followed by its weight decay if there is any."""
        own = vars(self)
        if group.rate != 1:
            own["_rate"] = group.rate
        try:
            given: Any = self.coefficients(self.step + 1)
            numbers = tuple(map(float, given if isinstance(given, tuple) else (given,)))
            if self.weight_decay:
                return *numbers, self.lr * self.weight_decay if group.decays else 0.0
            return numbers
        finally:
            own.pop("_rate", None)

    @property
    def state(self) -> Mapping[str, Mapping[str, Any]]:
        """The values of each slot by parameter name; empty before the first update.

        For Adam, ``optimizer.state["v"]["W1"]`` is the running mean of the squared gradients of
        ``W1``: an array of its shape and on its device, in float32 where the parameter is in half
        precision, or a number. Updates change it in place. See :meth:`state_dict` for copies.
        """
        return {} if self._state is None else self._state.slots

    def state_dict(self) -> dict[str, Any]:
        """Return everything the next update depends on, as copies on the host.

        Returns
        -------
        dict
            ``optimizer``: the class's name; ``step``: the number of updates done;
            ``hyperparameters``: numbers and names; ``functions``: the names of those that are
            functions, which can't be saved; ``schedule``: that of `lr`, if it is one of
            :mod:`dlskills.optimizers.schedules`, by its name and settings, else None;
            ``schedules``: likewise those of other hyperparameters, by their names; and, as
            ``SLOT/PARAMETER``, for each slot and parameter a NumPy array or a number. All but the
            arrays is what JSON can hold.
        """
        return saving.flat_state(
            type(self).__name__, self.step, self._hyperparameters(), self._state
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state saved by :meth:`state_dict`.

        The slots are moved to the device of their parameters. All of the state is loaded or, on an
        error, nothing. A hyperparameter with a schedule keeps its own; one without takes over that
        of the state, if it is one of dlskills'. A function, such as a schedule or `decay` of one's
        own, is code: no state holds it.

        Parameters
        ----------
        state : mapping
            The result of :meth:`state_dict`. States with the slots as mappings under ``slots``, as
            earlier revisions returned them, load too.

        Raises
        ------
        ValueError, TypeError
            The state is another optimizer's, lacks something, or has a value out of its range.

        Warns
        -----
        UserWarning
            The state was made under a schedule or a function, and this optimizer has none, or
            another schedule.
        """
        slots = saving.slots_of(state)
        if state["optimizer"] != type(self).__name__:
            raise ValueError(
                f"the state must be of the optimizer {type(self).__name__}, got one of "
                f"{state['optimizer']}"
            )
        names = {field.name for field in dataclasses.fields(self)}
        given = state["hyperparameters"]
        own = dict(self._hyperparameters())
        twin = copy.copy(self)  # takes the values one by one, and may refuse any
        if not set(given) - names:
            for name, value in given.items():
                if not callable(own[name]):
                    setattr(twin, name, value)
            for name in saving.scheduled(state, own):
                setattr(twin, name, saving.value_of(name, state, own[name]))
        if set(given) - names or (slots and set(slots) != set(twin.slots)):
            raise ValueError(
                f"the state has hyperparameters {list(given)} and slots {list(slots)}; "
                f"{type(self).__name__} has {sorted(names)} and {list(twin.slots)}"
            )
        loaded = State.loaded(slots) if slots else None
        step = check_count("step", state["step"], at_least=0)
        saving.warn_of_functions(state, own)
        vars(twin).update(step=step, _state=loaded, _plan=None)
        self.__dict__ = vars(twin)

    def _hyperparameters(self) -> list[tuple[str, Any]]:
        """Return names and values as given."""
        fields = sorted(dataclasses.fields(self), key=lambda field: bool(field.kw_only))
        return [(field.name, self._given(field.name)) for field in fields]

    def _given(self, name: str) -> Any:
        """Return a hyperparameter as given: a schedule, not its current value."""
        if name == "lr":
            return vars(self).get("_lr")
        return self._schedules[name] if name in self._schedules else getattr(self, name)

    def __repr__(self) -> str:
        defaults = {
            field.name: field.default for field in dataclasses.fields(self) if field.kw_only
        }
        defaults |= {field.name: field.default for field in dataclasses.fields(Optimizer)}
        shown = [
            f"{name}={value!r}"
            for name, value in self._hyperparameters()
            if name not in defaults or value != defaults[name]
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def reset(self) -> None:
        """Discard state and step count, as if newly created."""
        self.step, self._state, self._plan = 0, None, None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_plan"}

    def _state_of(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the slots for these parameters, allocated on first use."""
        if not (self.slots or self._schedules or callable(self._given("lr"))):
            return {}
        if self._state is None:
            self._state = State(self.slots, params)
        elif self._state.belongs_to(params):
            self._state.add(self.slots, params)
        elif not self.slots and self._state.shares_with(params):  # some were added or left out
            self._state = State((), params)
        else:
            if self.slots and (added := self._state.lacks(params)):
                raise RuntimeError(
                    f"this {type(self).__name__} has no {' and '.join(self.slots)} for "
                    f"{', '.join(map(repr, added))}, added after its first update. Call reset() to "
                    "start over with all parameters"
                )
            name = type(self).__name__
            what = f"{' and '.join(self.slots)} of this {name} belong"
            if not self.slots:
                what = f"step count of this {name}, which its schedule follows, belongs"
            raise RuntimeError(
                f"the {what} to other parameters. Create one optimizer per network and run, or "
                "call reset() to start over. To continue with new values, write arrays in place, "
                "params[key][...] = values, and numbers into the same mapping"
            )
        return self._state.slots
