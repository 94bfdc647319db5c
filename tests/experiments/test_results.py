"""Settings, and the files that an experiment leaves."""

import json
from types import SimpleNamespace

import pytest

from dlskills.experiments import EXPERIMENTS, Settings, write_results
from dlskills.plotting import new_figure


def fake_experiment(calls):
    """An experiment of no work, which notes how it is run."""

    def run(settings, **options):
        calls.append((settings, options))
        return {"losses": {"one": [1.5, 0.5]}, "seed twice": 2 * settings.seed}

    def plot(numbers):
        figure, axes = new_figure()
        axes.plot(numbers["losses"]["one"])
        return figure

    return SimpleNamespace(TITLE="A fake", ITERATIONS=9, run=run, plot=plot)


def test_an_experiment_leaves_its_numbers_and_its_figure(tmp_path):
    calls = []
    folder = tmp_path / "made" / "here"
    settings = Settings(iterations=7, seed=3, subset="sample", verbose=False)
    numbers, paths = write_results("fake", fake_experiment(calls), settings, folder, option=["a"])
    assert calls == [(settings, {"option": ["a"]})]
    assert sorted(paths) == sorted(folder.iterdir())
    assert [path.name for path in paths] == ["fake.png", "fake.svg", "fake.json"]

    record = json.loads((folder / "fake.json").read_text(encoding="utf-8"))
    seconds = record.pop("seconds")
    assert 0 <= seconds < 60
    assert record == {
        "experiment": "fake",
        "title": "A fake",
        "settings": {
            "iterations": 7, "seed": 3, "device": "cpu", "subset": "sample", "verbose": False,
            "option": ["a"],
        },
        "backend": "cpu (NumPy)",
        "numbers": numbers,
    }  # fmt: skip


def test_files_are_replaced(tmp_path):
    for seed in (1, 2):
        settings = Settings(seed=seed, verbose=False)
        write_results("fake", fake_experiment([]), settings, tmp_path)
    assert json.loads((tmp_path / "fake.json").read_text())["settings"]["seed"] == 2


def test_a_bad_folder_shows_before_the_work(tmp_path):
    calls = []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write_results("fake", fake_experiment(calls), Settings(), tmp_path / "file" / "folder")
    assert calls == []


def test_the_defaults_are_the_pages_on_the_bundled_digits():
    assert Settings() == Settings(
        iterations=None, seed=0, device="cpu", subset="sample", verbose=True
    )


def test_a_seed_drawn_is_recorded(tmp_path):
    settings = Settings(seed=None, verbose=False)
    assert isinstance(settings.seed, int)
    assert settings.seed != Settings(seed=None).seed
    write_results("fake", fake_experiment([]), settings, tmp_path)
    record = json.loads((tmp_path / "fake.json").read_text())
    assert record["settings"]["seed"] == settings.seed
    assert record["numbers"]["seed twice"] == 2 * settings.seed


@pytest.mark.parametrize(
    ("wrong", "error"),
    [({"iterations": 0}, ValueError), ({"iterations": -3}, ValueError),
     ({"iterations": 1.5}, TypeError), ({"seed": -1}, ValueError), ({"seed": "a"}, TypeError)],
)  # fmt: skip
def test_wrong_settings_are_named(wrong, error):
    (name,) = wrong
    with pytest.raises(error, match=f"{name} must be"):
        Settings(**wrong)


def test_every_experiment_has_what_an_experiment_needs():
    for module in EXPERIMENTS.values():
        assert isinstance(module.TITLE, str)
        assert all(callable(getattr(module, name)) for name in ("run", "plot", "table"))
    titles = [module.TITLE for module in EXPERIMENTS.values()]
    assert len(set(titles)) == len(titles)
