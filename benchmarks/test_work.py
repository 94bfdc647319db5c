import pytest

from benchmarks.contenders import CONTENDERS
from benchmarks.tasks import TASKS
from benchmarks.turns import worked

WORK = [(task, name) for task in TASKS.values() for name in CONTENDERS if name in task.contenders]


@pytest.mark.benchmark(timer=worked)
@pytest.mark.parametrize(("task", "contender"), WORK, ids=[f"{t.name}-{name}" for t, name in WORK])
def test_work(time_work, task, contender):
    time_work(task, contender)
