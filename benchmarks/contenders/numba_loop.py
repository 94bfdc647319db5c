"""Adam as a hand-written Numba loop, the speed that dlskills' engine has to match.

The array is split into equal parts, one per thread. The threads are plain Python threads that stay
alive, as many as Numba is set to use, or a single one if that is faster for the task, as measured
during set-up.
"""

import functools
import itertools
import math
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from benchmarks.contenders import Work
from benchmarks.tasks import Update

LR, BETA1, BETA2, EPSILON = 0.001, 0.9, 0.999, 1e-7


@numba.njit(nogil=True, error_model="numpy")
def adam(param, grad, m, v, lr, rate1, rate2, epsilon):
    for i in range(param.size):
        g = grad[i]
        mean = m[i] + rate1 * (g - m[i])
        square = v[i] + rate2 * (g * g - v[i])
        m[i] = mean
        v[i] = square
        param[i] -= lr * mean / (np.sqrt(square) + epsilon)


def update(task: Update, device: str) -> Work:
    (param,), (grad,) = task.params().values(), task.grads().values()
    threads = _quickest(param, grad)
    print(f"numba-loop: {task.name}: {threads} thread{'s' * (threads > 1)}", flush=True)
    return _step(param, grad, threads), lambda: task.result([param])


def _step(param: np.ndarray, grad: np.ndarray, threads: int) -> Callable[[], None]:
    arrays = param, grad, np.zeros_like(param), np.zeros_like(param)
    bounds = [param.size * i // threads for i in range(threads + 1)]
    parts = [[array[start:end] for array in arrays] for start, end in itertools.pairwise(bounds)]
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        lr = LR * math.sqrt(1 - BETA2**count) / (1 - BETA1**count)
        numbers = [np.float32(number) for number in (lr, 1 - BETA1, 1 - BETA2, EPSILON)]
        # the calling thread takes a part, too, which saves waking another one
        futures = [_pool().submit(adam, *part, *numbers) for part in parts[1:]]
        adam(*parts[0], *numbers)
        for future in futures:
            future.result()

    return step


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(numba.get_num_threads() - 1, 1))


def _quickest(param: np.ndarray, grad: np.ndarray, rounds: int = 9, steps: int = 5) -> int:
    """Return the number of threads, 1 or all, that takes less time on copies of these arrays."""
    counts = sorted({1, numba.get_num_threads()})
    work = {count: _step(param.copy(), grad, count) for count in counts}
    times: dict[int, list[float]] = {count: [] for count in counts}
    for i in range(rounds + 1):
        for count, step in work.items():
            step()  # wakes the threads
            for _ in range(steps):
                start = time.perf_counter()
                step()
                taken = time.perf_counter() - start
                if i:  # the first round compiles
                    times[count].append(taken)
    return min(counts, key=lambda count: statistics.median(times[count]))
