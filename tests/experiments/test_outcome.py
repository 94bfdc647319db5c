import base64
import pickle
import re

import pytest

from dlskills.experiments import Outcome, Settings, run

SETTINGS = Settings(verbose=False)


@pytest.fixture(scope="module")
def paths():
    return run(["optimizer-paths"], SETTINGS)["optimizer-paths"]


def test_a_notebook_shows_figures_table_and_verdicts(paths):
    assert isinstance(paths, Outcome)
    html = paths._repr_html_()
    images = re.findall(r'<img alt="([^"]+)" src="data:image/png;base64,([^"]+)"', html)
    assert [name for name, _ in images] == list(paths.figures())
    assert all(base64.b64decode(content).startswith(b"\x89PNG") for _, content in images)
    assert html.count("<table>") == 2
    assert html.count("<td>confirmed</td>") == sum(verdict.confirmed for verdict in paths.verdicts)
    assert paths.verdicts


def test_the_same_in_chinese(paths):
    html = paths.show("zh")._repr_html_()
    assert f"<h4>{paths.experiment.title.zh}</h4>" in html
    assert "<td>已证实</td>" in html
    assert "<td>confirmed</td>" not in html


@pytest.mark.slow
def test_other_settings_than_the_tutorials_show_no_verdicts():
    outcome = run(["optimizer-paths"], SETTINGS, options={"points": 3})["optimizer-paths"]
    assert "confirmed" not in outcome._repr_html_()
    assert "<img" in outcome._repr_html_()


def test_an_unknown_language_is_refused(paths):
    with pytest.raises(ValueError, match="lang 'fr' is not known"):
        paths.show("fr")


def test_it_travels_to_another_process_with_its_experiment(paths):
    copy = pickle.loads(pickle.dumps(paths))
    assert copy == paths
    assert copy.experiment is paths.experiment
    assert copy.verdicts == paths.verdicts
