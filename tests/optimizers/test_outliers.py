"""Gradients whose square overflows: the element stops moving, and nothing becomes NaN."""

import numpy as np
import pytest

from dlskills import (
    AdaDelta,
    AdaGrad,
    Adam,
    AdamW,
    AMSGrad,
    NAdam,
    RMSprop,
    Yogi,
    engine,
    to_host,
)
from dlskills.formulas import ENGINES

RULES = [
    Adam, AdamW, AMSGrad, NAdam, RMSprop, AdaDelta, AdaGrad, Yogi, lambda: RMSprop(centered=True)
]  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [3, 5000])
@pytest.mark.parametrize("outlier", [2e19, -2e19, 3e38])
@pytest.mark.parametrize("steps", [(0,), (3,), (3, 4, 12)])
def test_an_outlier_stops_only_its_own_element(backend, rule, size, outlier, steps):
    for engine_name, runs in ENGINES.items():
        if runs.library not in (None, backend.name) or runs.missing():
            continue
        optimizer = rule()
        params = {"w": backend.zeros((size,), "float32") + 1.0}
        grads = np.full(size, 0.5, "float32")
        with engine(engine_name):
            for step in range(30):
                grads[1] = outlier if step in steps else 0.5
                optimizer.update(params, {"w": backend.asarray(grads.copy())})
                if step == steps[0]:
                    stopped = to_host(params["w"])[1]
        w = to_host(params["w"])
        assert np.all(np.isfinite(w)), engine_name
        assert w[0] != 1, engine_name
        # AdamW's decay continues
        assert w[1] == stopped or rule is AdamW, engine_name
        state = [v for name, v in optimizer.state_dict().items() if name.endswith("/w")]
        assert not any(np.any(np.isnan(slot)) for slot in state), engine_name
        assert any(np.isinf(slot[1]) for slot in state), engine_name
