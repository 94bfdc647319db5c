"""An optimizer as graphs: its rule, and the coefficients as functions of its hyperparameters.

Engines compute coefficients in Python, once per step. A page in a browser can't; so they are
traced, too: `coefficients(step)` is called on a copy whose hyperparameters are symbols.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dlskills.formulas.symbolic import Branching, evaluate, symbolic_functions
from dlskills.formulas.trace import Trace, UnsuitedFormulaError, Value
from dlskills.optimizers.hyperparameters import RANGES, is_number_kind
from dlskills.optimizers.optimizer import Optimizer
from dlskills.optimizers.schedules import value_at

_CHECKED_STEPS = 12
_TOLERANCE = 1e-9  # Python's and NumPy's powers differ in the last bit, which RAdam magnifies


@dataclasses.dataclass(frozen=True)
class Hyperparameter:
    """A number of an optimizer.

    Attributes
    ----------
    name : str
    value : float or tuple of float
        As given; one value per step for a schedule.
    bounds : mapping of str to float
        Its range, as arguments of :func:`dlskills.checks.check_number`.
    """

    name: str
    value: float | tuple[float, ...]
    bounds: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class TracedOptimizer:
    """The graphs of an optimizer.

    Attributes
    ----------
    hyperparameters : list of Hyperparameter
    coefficients : Trace
        Of the hyperparameters and, unless it is unrolled, the number of the step, from 1.
    unrolled : bool
        Whether `coefficients` returns those of all steps, one step after the other.
    update : Trace
        Of the parameter, its gradient, the slots and the coefficients; returns the parameter and
        the slots.
    slots : int
        Number of slots, which are 0 before the first step.
    """

    hyperparameters: list[Hyperparameter]
    coefficients: Trace
    unrolled: bool
    update: Trace
    slots: int


def trace_optimizer(optimizer: Optimizer, steps: int) -> TracedOptimizer:
    """Trace an optimizer for parameters that are single numbers.

    Parameters
    ----------
    optimizer : Optimizer
    steps : int
        Number of updates for which schedules, and coefficients that can only be computed for one
        step at a time, are tabulated.

    Raises
    ------
    UnsuitedFormulaError
        The rule or its coefficients can't be traced; the message gives the reason.
    """
    name = type(optimizer).__name__
    if not isinstance(optimizer, Optimizer) or type(optimizer).update is not Optimizer.update:
        raise UnsuitedFormulaError(
            f"{name} must be derived from dlskills.Optimizer, without an update(params, grads) of "
            "its own: only a rule(xp) can be translated"
        )
    _check_modifiers(optimizer)
    complete = _with_all_terms(optimizer)
    numbers = _hyperparameters(optimizer, steps)
    try:
        coefficients, unrolled = _trace_coefficients(complete, numbers, steps)
    except UnsuitedFormulaError as error:
        raise UnsuitedFormulaError(
            f"the coefficients of {name} can't be translated: {error}"
        ) from error
    _check(complete, coefficients, unrolled, steps)
    common, rule = complete._modifiers(None, None)  # type: ignore[arg-type]  # none takes a norm
    count = len(coefficients.results) // (steps if unrolled else 1)

    def with_modifiers(xp: Any) -> Callable[..., Any]:
        update = rule(xp)
        return lambda *operands: update(*operands, *common)

    try:
        update = Trace(with_modifiers, ("",) * (2 + len(complete.slots) + count), dims="")
    except UnsuitedFormulaError as error:
        raise UnsuitedFormulaError(f"the rule of {name} can't be translated: {error}") from error
    if len(update.results) != 1 + len(complete.slots):
        raise UnsuitedFormulaError(
            f"the rule of {name} must return (param, *slots), {1 + len(complete.slots)} in all, "
            f"got {len(update.results)}"
        )
    return TracedOptimizer(numbers, coefficients, unrolled, update, len(complete.slots))


def _check_modifiers(optimizer: Optimizer) -> None:
    """Refuse what is more than a formula of one element."""
    for name in ("clip_norm", "rates", "decay", "frozen"):
        if getattr(optimizer, name) not in (None, ()):
            raise UnsuitedFormulaError(
                f"{type(optimizer).__name__} with {name} can't be translated: it depends on more "
                f"than one parameter. Leave {name} out"
            )
    common = {field.name for field in dataclasses.fields(Optimizer)} - {"weight_decay"}
    for name in common & set(optimizer._schedules):
        raise UnsuitedFormulaError(f"a schedule of {name} can't be translated. Use a number")


def _names(optimizer: Optimizer) -> list[str]:
    """Return the hyperparameters that are numbers; of those of all optimizers, the active ones."""
    common = {field.name for field in dataclasses.fields(Optimizer)}
    if optimizer._given("weight_decay") != 0:
        common.remove("weight_decay")
    fields = [field for field in dataclasses.fields(optimizer) if field.name not in common]
    return [
        field.name
        for field in sorted(fields, key=lambda field: bool(field.kw_only))
        if (field.name == "lr" or is_number_kind(str(field.type)))
        and optimizer._given(field.name) is not None
    ]


def _with_all_terms(optimizer: Optimizer) -> Optimizer:
    """Return a copy in which no hyperparameter is 0, which may leave a term and a slot out."""
    complete = copy.deepcopy(optimizer)
    for name in _names(optimizer):
        if optimizer._given(name) == 0:
            with contextlib.suppress(ValueError, TypeError):
                setattr(complete, name, 0.5)
    complete.reset()
    return complete


def _hyperparameters(optimizer: Optimizer, steps: int) -> list[Hyperparameter]:
    found = []
    for name in _names(optimizer):
        given = optimizer._given(name)
        bounds = {"at_least": 0.0} if name == "lr" else RANGES[name]
        if callable(given):
            given = tuple(value_at(given, step, name, **bounds) for step in range(steps))
        found.append(Hyperparameter(name, given, bounds))
    return found


# Coefficients


def _trace_coefficients(
    optimizer: Optimizer, numbers: Sequence[Hyperparameter], steps: int
) -> tuple[Trace, bool]:
    """Return the graph of the coefficients, and whether it is one for all steps in turn."""
    kinds = ("",) * (len(numbers) + 1)
    try:
        return Branching(_of_step(optimizer, numbers), kinds, dims=""), False
    except UnsuitedFormulaError:  # such as a loop over the steps
        return Branching(_of_steps(optimizer, numbers, steps), kinds[:-1], dims=""), True


def _of_step(optimizer: Optimizer, numbers: Sequence[Hyperparameter]) -> Callable[..., Any]:
    def formula(xp: Any) -> Callable[..., Any]:
        def coefficients(*operands: Any) -> tuple[Value, ...]:
            *values, step = operands
            twin = _twin(optimizer, numbers, values, step)
            return _called(twin, numbers, step, step.trace)

        return coefficients

    return formula


def _of_steps(
    optimizer: Optimizer, numbers: Sequence[Hyperparameter], steps: int
) -> Callable[..., Any]:
    def formula(xp: Any) -> Callable[..., Any]:
        def coefficients(*operands: Value) -> tuple[Value, ...]:
            found: list[Value] = []
            twin = copy.copy(optimizer)
            for step in range(1, steps + 1):
                values = [
                    operand if isinstance(one.value, float) else one.value[step - 1]
                    for one, operand in zip(numbers, operands, strict=True)
                ]
                vars(twin).update(vars(_twin(twin, numbers, values, step)))
                found += _called(twin, numbers, step, operands[0].trace)
            return tuple(found)

        return coefficients

    return formula


def _twin(
    optimizer: Optimizer, numbers: Sequence[Hyperparameter], values: Sequence[Any], step: Any
) -> Optimizer:
    """Return a copy with these values, symbols or numbers, before an update."""
    twin = copy.copy(optimizer)
    given = {one.name: value for one, value in zip(numbers, values, strict=True)}
    rate = given.pop("lr", None)
    # not by setattr, which takes numbers only
    vars(twin).update(given, step=step - 1, _schedules={})
    if rate is not None:
        vars(twin)["_lr"] = rate
    return twin


def _called(
    twin: Optimizer, numbers: Sequence[Hyperparameter], step: Any, trace: Any
) -> tuple[Value, ...]:
    """Return the coefficients of a step, and the weight decay if there is any."""
    decays = any(one.name == "weight_decay" for one in numbers)

    def run() -> tuple[Any, ...]:
        given: Any = twin.coefficients(step)
        own: tuple[Any, ...] = given if isinstance(given, tuple) else (given,)
        return (*own, twin.lr * twin.weight_decay) if decays else own

    modules = {base.__module__ for base in type(twin).__mro__}
    with symbolic_functions(modules, trace):
        followed: tuple[Value, ...] = trace.follow(run)
        return followed


def _check(optimizer: Optimizer, coefficients: Trace, unrolled: bool, steps: int) -> None:
    """Raise an error unless the graph gives what the optimizer itself computes, step by step."""
    own = copy.deepcopy(optimizer)
    for step in range(1, min(steps, _CHECKED_STEPS) + 1):
        own.step = step - 1
        values = [getattr(own, name) for name in _names(own)]
        given: Any = own.coefficients(step)
        expected = list(given) if isinstance(given, tuple) else [given]
        if own.weight_decay:
            expected.append(own.lr * own.weight_decay)
        if unrolled:
            count = len(coefficients.results) // steps
            found = evaluate(coefficients, values)[count * (step - 1) : count * step]
        else:
            found = evaluate(coefficients, [*values, float(step)])
        pairs = itertools.zip_longest(found, expected, fillvalue=math.nan)
        if not all(math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=1e-300) for a, b in pairs):
            raise UnsuitedFormulaError(
                f"the coefficients of {type(optimizer).__name__} can't be translated: at step "
                f"{step} they depend on more than the step and the hyperparameters"
            )
