import pytest

from benchmarks.contenders import CONTENDERS
from benchmarks.tasks import TASKS
from benchmarks.turns import worked

UPDATES = [task for task in TASKS.values() if task.kind == "update"]


@pytest.mark.benchmark(timer=worked)
@pytest.mark.parametrize("contender", [c for c in CONTENDERS if "update" in CONTENDERS[c].does])
@pytest.mark.parametrize("task", UPDATES, ids=lambda task: task.name)
def test_update(time_work, task, contender):
    time_work(task, contender)
