"""Runs over seeds, in processes, and from the cache."""

import concurrent.futures
import inspect
import json

import pytest
from threadpoolctl import threadpool_info

import dlskills
from dlskills import experiments
from dlskills.experiments import EXPERIMENTS, Experiment, Record, Settings, run_cache, workers
from dlskills.experiments.job import job_of, run_job
from dlskills.experiments.parts import split
from dlskills.formulas.engines import forced_engine
from dlskills.processes import WorkerLostError

QUIET = Settings(verbose=False)


@pytest.fixture
def fake(monkeypatch):
    """An experiment of no work, which notes how it is run, under the name "fake"."""
    calls = []

    def run(settings, *, steps=9, scales=(1, 2)):
        calls.append((settings, steps, tuple(scales)))
        return {"by scale": {str(s): [s * steps, settings.seed] for s in scales}, "nan": {}}

    class Fake:
        """Registers itself anew whenever a part is changed."""

        def __init__(self):
            vars(self).update(calls=calls, parts={"run": run, "quick": {"steps": 2}})
            self._register()

        def __setattr__(self, name, value):
            self.parts[name] = value
            self._register()

        def __getattr__(self, name):
            return self.parts[name]

        def _register(self):
            known = inspect.signature(self.parts["run"]).parameters
            quick = {key: value for key, value in self.parts["quick"].items() if key in known}
            parts = self.parts | {"quick": quick}
            experiment = Experiment(name="fake", title="Fake", **parts)
            monkeypatch.setitem(EXPERIMENTS, "fake", experiment)

    return Fake()


@pytest.fixture
def in_threads(monkeypatch):
    """In place of processes, to which nothing has to be sent."""
    monkeypatch.setattr(workers, "processes", concurrent.futures.ThreadPoolExecutor)


def keep_parts(record, folder):
    """Leave the parts of a run as work that was cut short before the whole leaves them."""
    for part in split(job_of(record, record.options, EXPERIMENTS[record.experiment])):
        run_cache.write_run(folder, part, run_job(part))


def numbers(seed=0, steps=9, scales=(1, 2)):
    return {"by scale": {str(s): [s * steps, seed] for s in scales}, "nan": {}}


def test_each_seed_is_a_run(fake):
    (records,) = experiments.run(["fake"], Settings(5, verbose=False), seeds=3).values()
    assert [record.settings.seed for record in records] == [5, 6, 7]
    assert [record.numbers for record in records] == [numbers(seed) for seed in (5, 6, 7)]
    assert records[0].options == {"steps": 9, "scales": [1, 2]}
    assert records[0].backend == "cpu (NumPy)"
    assert records[0].engine in ("numba", "blocked")
    assert not records[0].quick


def test_where_nothing_is_random_one_run_does(fake):
    fake.random = False
    (records,) = experiments.run(["fake"], QUIET, seeds=3).values()
    assert len(records) == len(fake.calls) == 1


def test_options_override_those_of_a_quick_run_which_override_the_tutorials(fake):
    for quick, options, steps in [
        (False, {}, 9), (True, {}, 2), (True, {"steps": 4}, 4), (False, {"steps": 4}, 4),
    ]:  # fmt: skip
        (records,) = experiments.run(["fake"], QUIET, quick=quick, options=options).values()
        assert records[0].options["steps"] == fake.calls[-1][1] == steps
        assert records[0].quick is quick


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: experiments.run(["fak"], QUIET), "experiment 'fak' is not known; did you mean"),
        (lambda: experiments.run(["fake"], QUIET, options={"step": 1}), "no option 'step'; did"),
        (lambda: experiments.run(["fake"], QUIET, seeds=0), "seeds must be at least 1"),
        (lambda: experiments.run(["fake"], QUIET, jobs=0), "jobs must be at least 1"),
        (lambda: experiments.run(["fake"], Settings(device="gpu")), "device must be"),
    ],
)
def test_mistakes_show_before_the_work(fake, call, message):
    with pytest.raises(ValueError, match=message):
        call()
    assert fake.calls == []


@pytest.mark.parametrize(
    ("wrong", "error"), [({"seed": -1}, ValueError), ({"seed": "a"}, TypeError)]
)
def test_wrong_settings_are_named(wrong, error):
    with pytest.raises(error, match="seed must be"):
        Settings(**wrong)


# The cache


def test_nothing_is_run_twice(fake, tmp_path):
    first = experiments.run(["fake"], QUIET, seeds=2, cache=tmp_path)
    assert len(fake.calls) == 2
    assert experiments.run(["fake"], QUIET, seeds=2, cache=tmp_path) == first
    assert len(fake.calls) == 2
    more = experiments.run(["fake"], QUIET, seeds=3, cache=tmp_path)
    assert more["fake"][:2] == first["fake"]
    assert len(fake.calls) == 3


@pytest.mark.parametrize(
    "change",
    [{"settings": Settings(0, subset="full", verbose=False)}, {"quick": True},
     {"options": {"steps": 8}}],
)  # fmt: skip
def test_other_settings_are_another_run(fake, tmp_path, change):
    told = {"settings": QUIET} | change
    experiments.run(["fake"], QUIET, cache=tmp_path)
    experiments.run(["fake"], **told, cache=tmp_path)
    assert len(fake.calls) == 2


def test_progress_does_not_matter_to_the_cache(fake, tmp_path):
    experiments.run(["fake"], QUIET, cache=tmp_path)
    experiments.run(["fake"], Settings(), cache=tmp_path)
    assert len(fake.calls) == 1


def test_other_source_code_is_another_run(fake, tmp_path, monkeypatch):
    experiments.run(["fake"], QUIET, cache=tmp_path)
    monkeypatch.setattr(run_cache, "source_code", lambda: "other")
    experiments.run(["fake"], QUIET, cache=tmp_path)
    assert len(fake.calls) == 2


SPOILT = [
    "", "{", "[]", "{}", '{"seconds": 1}', "\0", "[" * 100_000, '{"seconds": "1", "numbers": {}}',
    '{"seconds": 1, "numbers": []}', '{"seconds": 1, "seconds": 2, "numbers": {}}',
]  # fmt: skip


@pytest.mark.parametrize("content", SPOILT)
def test_a_spoilt_file_is_run_again(fake, tmp_path, content):
    experiments.run(["fake"], QUIET, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text(content)
    (records,) = experiments.run(["fake"], QUIET, cache=tmp_path).values()
    assert records[0].numbers == numbers()
    assert json.loads(path.read_text())["numbers"] == numbers()
    assert list(tmp_path.iterdir()) == [path]


# Processes


def test_parts_make_up_the_whole(fake, in_threads):
    fake.split = "scales"
    (records,) = experiments.run(["fake"], QUIET, jobs=2).values()
    assert sorted(call[2] for call in fake.calls) == [(1,), (2,)]
    assert records[0].numbers == numbers()
    assert records[0].options == {"steps": 9, "scales": [1, 2]}


def test_parts_that_disagree_are_an_error(fake, in_threads):
    fake.split = "scales"
    fake.run = lambda settings, *, scales=(1, 2): {"x": {"same": scales[0]}}
    with pytest.raises(RuntimeError, match="disagree: [12] and [12]"):
        experiments.run(["fake"], QUIET, jobs=2)


@pytest.mark.slow  # starts processes
@pytest.mark.parametrize(
    "name", ["optimizer-paths", "optimizer-mnist", "symmetry", "hyperparameters"]
)
def test_processes_give_the_same_numbers(name):
    told = {"seeds": 2, "quick": True}
    alone, together = (experiments.run([name], QUIET, jobs=jobs, **told)[name] for jobs in (1, 2))
    assert [r.settings.seed for r in alone] == [r.settings.seed for r in together]
    # to the last bit; as texts, in which a NaN is a NaN
    assert [json.dumps(r.numbers) for r in alone] == [json.dumps(r.numbers) for r in together]


def test_matrix_products_take_one_thread(fake):
    def run_and_finish(*_):
        return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}

    fake.run = lambda settings: {"run": list(run_and_finish())}
    fake.finish = lambda settings, numbers: numbers | {"finish": list(run_and_finish())}
    (records,) = experiments.run(["fake"], QUIET).values()
    assert records[0].numbers == {"run": [1], "finish": [1]}


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_forced_engine_is_forced_in_processes_too(fake, monkeypatch, jobs):
    # threads, which as processes don't know what was forced outside
    monkeypatch.setattr(workers, "processes", concurrent.futures.ThreadPoolExecutor)
    fake.run = lambda settings: {"engine": forced_engine()}
    for name in ("plain", "blocked"):
        with dlskills.engine(name):
            (records,) = experiments.run(["fake"], QUIET, seeds=2, jobs=jobs).values()
        for record in records:
            assert record.numbers == {"engine": name}
            assert record.engine == name


def test_finished_parts_are_kept_until_the_run_is_complete(fake, in_threads, tmp_path):
    fake.split, work = "scales", fake.run

    def interrupted(settings, *, steps=9, scales=(1, 2, 3)):
        if scales == [3]:
            raise KeyboardInterrupt
        return work(settings, steps=steps, scales=scales)

    fake.run = interrupted
    told = {"jobs": 2, "cache": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        experiments.run(["fake"], QUIET, **told)
    assert 1 <= len(list(tmp_path.iterdir())) <= 2
    kept = {call[2] for call in fake.calls}

    def whole(settings, *, steps=9, scales=(1, 2, 3)):
        return work(settings, steps=steps, scales=scales)

    fake.run = whole
    fake.calls.clear()
    (records,) = experiments.run(["fake"], QUIET, **told).values()
    assert records[0].numbers == numbers(scales=(1, 2, 3))
    again = [call[2] for call in fake.calls]
    assert len(again) + len(kept) >= 3
    assert len(again) < 3
    (path,) = tmp_path.iterdir()  # the whole
    assert json.loads(path.read_text())["numbers"] == records[0].numbers


def test_parts_that_are_finished_when_another_fails_are_kept(
    fake, in_threads, monkeypatch, tmp_path
):
    def failure_first(futures):
        concurrent.futures.wait(futures)
        return sorted(futures, key=lambda future: future.exception() is None)

    monkeypatch.setattr(concurrent.futures, "as_completed", failure_first)
    fake.split, work = "scales", fake.run

    def killed(settings, *, steps=9, scales=(1, 2, 3)):
        if scales == [3]:
            raise WorkerLostError("worker 1 of 2 was killed")
        return work(settings, steps=steps, scales=scales)

    fake.run = killed
    with pytest.raises(WorkerLostError):
        experiments.run(["fake"], QUIET, jobs=2, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_run_whose_parts_are_all_kept_is_merged_from_them(fake, in_threads, tmp_path):
    fake.split = "scales"
    (records,) = experiments.run(["fake"], QUIET).values()
    keep_parts(records[0], tmp_path)
    fake.calls.clear()
    told = {"jobs": 2, "cache": tmp_path}
    (again,) = experiments.run(["fake"], QUIET, **told).values()
    assert fake.calls == []
    assert again[0].numbers == records[0].numbers
    (path,) = tmp_path.iterdir()
    path.unlink()
    keep_parts(records[0], tmp_path)
    fake.calls.clear()
    experiments.run(["fake"], QUIET, fresh=True, **told)
    assert len(fake.calls) == 2


def test_a_single_part_needs_no_process(fake, monkeypatch):
    monkeypatch.setattr(workers, "processes", None)
    (records,) = experiments.run(["fake"], QUIET, jobs=2).values()
    assert records[0].numbers == numbers()


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("given", [[], "ab", 3])
def test_an_option_to_split_by_must_be_a_list_of_items(fake, given, jobs):
    fake.split = "scales"
    with pytest.raises(ValueError, match=r"fake takes a list of at least one item for scales, got"):
        experiments.run(["fake"], QUIET, options={"scales": given}, jobs=jobs)


@pytest.mark.slow
def test_an_error_in_a_process_comes_out_and_ends_the_work(monkeypatch):
    with pytest.raises(ValueError, match="optimizer 'adm' is not known"):
        experiments.run(["optimizer-mnist"], QUIET, seeds=3, jobs=2, options={"optimizers": "adm"})


def test_a_record_can_be_sent_to_another_process():
    import pickle

    (records,) = experiments.run(["optimizer-paths"], QUIET).values()
    assert pickle.loads(pickle.dumps(records[0])) == records[0]
    assert isinstance(records[0], Record)
