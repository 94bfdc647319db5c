"""Every optimizer with modifiers and groups, on every engine and layout, against references.

The references in textbook.py have no modifiers: the tests change the gradients beforehand, use one
learning rate per parameter, and apply weight decay between the steps.
"""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textbook import RULES

from dlskills import Parameters, engine, make_optimizer, to_host
from dlskills.formulas import threads
from dlskills.formulas.engines import blocked

STEPS = 3
every_rule = pytest.mark.parametrize("name", RULES)


@contextlib.contextmanager
def small_blocks():
    """Split even small arrays into blocks and across threads, as is done with large ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocked, "BLOCK", 16)
        patch.setattr(threads, "SHARE_FROM", 32)
        patch.setattr(threads, "SHARE", 24)
        patch.setattr(threads, "LINE", 4)
        yield


LAYOUTS = {
    "C": lambda array: array,
    "F": np.asfortranarray,
    "strided": lambda array: np.repeat(array[..., np.newaxis], 2, axis=-1)[..., 1],
    "backwards": lambda a: a[(..., *[slice(None, None, -1)] * a.ndim)].copy()[
        (..., *[slice(None, None, -1)] * a.ndim)
    ],
}
SHAPES = [(), (0,), (3,), (40,), (5, 7), (2, 0, 3), (2, 3, 4), (65,)]

entries = st.fixed_dictionaries(
    {
        "shape": st.sampled_from(SHAPES),
        "layout": st.sampled_from(sorted(LAYOUTS)),
        "rate": st.sampled_from([None, 0.5, 2.0]),
        "decays": st.booleans(),
        "frozen": st.sampled_from([False, False, True]),
    }
)
mappings = st.dictionaries(st.sampled_from("abcdefgh"), entries, min_size=1)
modifiers = st.fixed_dictionaries(
    {},
    optional={
        "grad_scale": st.just(-0.5), "clip_norm": st.sampled_from([0.5, 1e3]),
        "clip_value": st.just(0.6), "weight_decay": st.just(0.2),
    },
)  # fmt: skip


def drawn(rng, shape):
    """Return a start and gradients in float64, rounded to float32."""
    return np.asarray(rng.standard_normal((STEPS + 1, *shape)).astype("float32"), "float64")


def modified(gradients, frozen, grad_scale=1.0, clip_norm=None, clip_value=None, weight_decay=0.0):
    """Return the gradients of all steps after the modifiers."""
    changed = {key: grad_scale * grad for key, grad in gradients.items() if key not in frozen}
    for step in range(STEPS):
        norm = np.sqrt(sum(np.sum(grad[step] ** 2) for grad in changed.values()))
        for grad in changed.values():
            if clip_norm is not None and norm > clip_norm:
                grad[step] *= clip_norm / norm
            if clip_value is not None:
                grad[step] = np.clip(grad[step], -clip_value, clip_value)
    return changed


def by_reference(name, start, gradients, settings, decay):
    """Return the final parameter of the reference with decay, and its largest step.

    The steps of the references do not depend on the parameter.
    """
    w, position, largest = start.copy(), np.zeros_like(start), 0.0
    for there in RULES[name][0](np.zeros_like(start), list(gradients), **settings):
        w = w * (1 - settings["lr"] * decay) + (there - position)
        largest = max(largest, np.max(abs(there - position), initial=0))
        position = there
    return w, largest


@every_rule
@given(
    mapping=mappings,
    changes=modifiers,
    dtype=st.sampled_from(["float32", "float64"]),
    kind=st.sampled_from([dict, Parameters]),
    seed=st.integers(0, 2**32 - 1),
)
@small_blocks()
def test_every_optimizer_agrees_with_its_reference(
    backend, engine_names, name, mapping, changes, dtype, kind, seed
):
    rng = np.random.default_rng(seed)
    values = {key: drawn(rng, entry["shape"]) for key, entry in mapping.items()}
    settings = dict(RULES[name][1][-1])
    if "weight_decay" in settings:
        settings["weight_decay"] = 0.0
    groups = {
        "rates": {key: e["rate"] for key, e in mapping.items() if e["rate"] is not None},
        "decay": [key for key, entry in mapping.items() if entry["decays"]],
        "frozen": {key for key, entry in mapping.items() if entry["frozen"]},
    }
    gradients = modified({k: v[1:].copy() for k, v in values.items()}, groups["frozen"], **changes)

    def place(step):
        placed = {}
        for key, entry in mapping.items():
            array = backend.asarray(values[key][step].copy(), dtype)
            layout = LAYOUTS[entry["layout"]] if backend.name == "numpy" else LAYOUTS["C"]
            placed[key] = layout(array) if array.shape else array
        return kind(placed)

    for engine_name in engine_names(backend):
        params = place(0)
        optimizer = make_optimizer(name, **settings | changes | groups)
        with engine(engine_name):
            for step in range(STEPS):
                optimizer.update(params, place(1 + step))
        for key, entry in mapping.items():
            actual, start = to_host(params[key]), values[key][0]
            assert actual.dtype == dtype
            if key in groups["frozen"]:
                np.testing.assert_array_equal(actual, start)
                continue
            own = settings | {"lr": settings["lr"] * (entry["rate"] or 1.0)}
            decay = changes.get("weight_decay", 0.0) if entry["decays"] else 0.0
            expected, step = by_reference(name, start, gradients[key], own, decay)
            unit = 64 * np.finfo(dtype).eps
            size = np.max(abs(expected), initial=0) + step
            np.testing.assert_allclose(actual, expected, rtol=unit, atol=unit * size)
