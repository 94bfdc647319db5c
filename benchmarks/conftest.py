"""Make `benchmarks` importable, here and in the workers, however pytest was started."""

import sys
from pathlib import Path

import pytest

# At the end of the path, so that an installed dlskills is measured if there is one.
sys.path.append(str(Path(__file__).resolve().parent.parent))


@pytest.fixture
def time_work(benchmark):
    """Benchmark a contender's step on a task in its own process."""
    from benchmarks.contenders import CONTENDERS
    from benchmarks.turns import Worker

    def time_work(task, contender):
        if missing := CONTENDERS[contender].missing():
            pytest.skip(f"{contender}: {' and '.join(missing)} is not installed")
        benchmark.group = task.name
        with Worker(contender) as worker:
            worker.prepare(task)
            worker.result()
            worker.run(task.steps)
            benchmark.pedantic(worker.run, args=(1,), rounds=20 * task.steps)

    return time_work
