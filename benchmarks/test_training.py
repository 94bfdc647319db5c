import pytest

from benchmarks.contenders import CONTENDERS
from benchmarks.tasks import TASKS
from benchmarks.turns import worked


@pytest.mark.benchmark(timer=worked)
@pytest.mark.parametrize("contender", [c for c in CONTENDERS if "train_step" in CONTENDERS[c].does])
def test_train_step(time_work, contender):
    time_work(TASKS["train step"], contender)
