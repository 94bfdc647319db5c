"""The page to play with: what is written, and in a browser the numbers and the controls."""

import re
import sys
import time

import numpy as np
import pytest
from browser import needs_chromium, opened, result_of, told

from dlskills.experiments import Settings
from dlskills.experiments.optimizer_paths import run
from dlskills.experiments.surfaces import SURFACES
from dlskills.formulas import UnsuitedFormulaError
from dlskills.layers import ACTIVATIONS
from dlskills.optimizers import OPTIMIZERS
from dlskills.report import play, write_play
from dlskills.report.translate import as_json

OWN = '''
import math

from dlskills import Optimizer


class Own(Optimizer):
    """Warms up, and takes the sign of a momentum."""

    lr: float = 0.1
    momentum: float = 0.8
    slots = ("v",)

    def coefficients(self, step):
        warm = min(1.0, step / 5) if step < 10 else math.exp(-step / 100)
        return self.lr * warm, self.momentum

    @staticmethod
    def rule(xp):
        def update(param, grad, v, lr, momentum):
            v *= momentum
            v += grad
            param -= lr * xp.sign(v) * xp.minimum(xp.abs(v), 1.0)
            return param, v

        return update


class Norm(Own):
    @staticmethod
    def rule(xp):
        return lambda param, grad, v, lr, momentum: (param - lr * xp.sum(grad), v)
'''


WAVES = """
import numpy as np


def waves(x, y):
    return np.sin(x) + y**2 / 10
"""

ACTIVATIONS_OF_A_USER = '''
import numpy as np

from dlskills import Activation, along, elementwise


class Bent(Activation):
    """Bent identity."""

    keeps = "input"

    def __init__(self, bend=0.5):
        self.bend = bend

    def numbers(self):
        return (self.bend,)

    @staticmethod
    def function(xp):
        return lambda x, bend: (xp.sqrt(x * x + 1) - 1) * bend + x

    @staticmethod
    def derivative(xp):
        return lambda dout, x, bend: dout * (x / xp.sqrt(x * x + 1) * bend + 1)


@elementwise
def swish_of_mine(xp):
    return lambda x: x / (1 + xp.exp(-1.5 * x))


def bump(x):
    return np.where(x > 2, 1.0, x * np.exp(-(x**2)))


@along
def centred(xp):
    return lambda x, axis: x - xp.mean(x, axis=axis, keepdims=True)


def tanh(x):
    return np.tanh(x)


def integral(x):
    return np.cumsum(x)


number = 3
'''


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "own_rule_to_play.py"
    path.write_text(OWN, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def page(own, tmp_path_factory):
    path = tmp_path_factory.mktemp("play") / "play.html"
    write_play(path, rules=[f"{own}:Own"])
    return path.read_text(encoding="utf-8")


def test_the_page_needs_no_other_file(page):
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(link.startswith(("#", "data:")) for link in links)
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_given_rules_come_first_and_all_others_follow(page):
    names = re.findall(r'^"name": "(\w+)"', page, re.MULTILINE)
    assert names == ["Own", *(kind.__name__ for kind in OPTIMIZERS.values())]


def test_a_page_of_one_language_has_no_switch(tmp_path):
    write_play(tmp_path / "zh.html", languages=("zh",))
    text = (tmp_path / "zh.html").read_text(encoding="utf-8")
    assert '<html lang="zh-Hans">' in text
    assert "data-language=" not in text
    assert "Update rule" not in text
    assert "更新规则" in text


def test_a_name_cannot_end_the_script():
    assert "<" not in as_json("</script>")


def test_a_rule_that_is_not_elementwise_is_refused(own, tmp_path):
    with pytest.raises(UnsuitedFormulaError, match=r"rule of Norm can't be translated.*xp\.sum"):
        write_play(tmp_path / "play.html", rules=[f"{own}:Norm"])
    assert not (tmp_path / "play.html").exists()


def test_a_rate_that_was_given_holds_on_every_surface():
    assert '"rates": {}' in play.program(["SGD:lr=0.5"]).split("Momentum")[0]
    first = play.program(["Adam"]).split('"numbers"')[0]
    assert '"rates": {"bowl": 0.3, "rosenbrock": 0.1, "beale": 0.2, "saddle": 0.2}' in first


@pytest.fixture(scope="module")
def own_activations(tmp_path_factory):
    path = tmp_path_factory.mktemp("activations") / "activations_to_play.py"
    path.write_text(ACTIVATIONS_OF_A_USER, encoding="utf-8")
    return path


def test_given_activations_come_first_and_the_first_is_shown(own_activations):
    script = play.program(activations=[f"{own_activations}:Bent", "tanh"])
    labels = re.findall(r'^"label": "([\w ]+)"', script, re.MULTILINE)
    assert labels[:4] == ["Bent", "tanh", "ReLU", "Leaky ReLU"]
    assert len(labels) == len(ACTIVATIONS) + 1
    assert 'const FIRST = "Bent"' in script
    assert 'const FIRST = "sigmoid"' in play.program()


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("number", TypeError, "number must be a class derived from Activation.*got 3"),
        ("centred", TypeError, "made by elementwise"),
        ("tanh", ValueError, "there is an activation 'tanh' already; give yours another name"),
        ("bumps", ValueError, "has no 'bumps'; did you mean 'bump'"),
        ("integral", UnsuitedFormulaError, "activation integral can't be translated: cumsum"),
    ],
)
def test_an_activation_that_does_not_fit_is_refused(own_activations, name, error, message):
    with pytest.raises(error, match=message):
        play.program(activations=[f"{own_activations}:{name}"])


def test_an_activation_given_twice_is_refused():
    with pytest.raises(ValueError, match="activation 'tanh' is given twice"):
        play.program(activations=["tanh", "tanh"])


# In the browser

# For each rule: the paths over each surface with the values that the page begins with.
PATHS = """RULES.map((rule) => Object.entries(SURFACES).map(([key, surface]) => {
  const values = rule.numbers.map(({ name, value }) => (
    name === "lr" ? rule.rates[key] ?? value : value));
  return [rule.name, key, rule.numbers.map(({ name }) => name), values,
    follow(rule, values, surface, surface.start, 60)];
})).flat()"""

# The same with values far from those that were traced.
OTHERS = """RULES.map((rule) => Object.entries(SURFACES).map(([key, surface]) => {
  const values = rule.numbers.map(({ name, scale }, i) => (
    name === "lr" ? 0.003 : scale === "share" ? 0.4 + i / 10 : 0.01 * (i + 1)));
  return [rule.name, key, rule.numbers.map(({ name }) => name), values,
    follow(rule, values, surface, surface.start.map((value) => value * 0.9), 60)];
})).flat()"""


def assert_paths(found, own, factor=1.0):
    for rule, key, names, values, path in found:
        told = ":".join(f"{name}={value!r}" for name, value in zip(names, values, strict=True))
        name = f"{own}:Own" if rule == "Own" else rule
        start = [factor * value for value in SURFACES[key].start]
        numbers = run(
            Settings(verbose=False), points=60, function=key, start=start,
            optimizers=[f"{name}:{told}"],
        )  # fmt: skip
        (expected,) = numbers["paths"].values()
        assert len(path) == len(expected), (rule, key)
        np.testing.assert_allclose(path, expected, rtol=1e-9, atol=1e-9, err_msg=f"{rule} on {key}")


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize(("script", "factor"), [(PATHS, 1.0), (OTHERS, 0.9)])
def test_paths_are_those_of_python(page, own, tmp_path, script, factor):
    found = result_of(script, tmp_path, page)
    assert len(found) == (len(OPTIMIZERS) + 1) * len(SURFACES)
    assert_paths(found, own, factor)


@pytest.mark.slow
@needs_chromium
def test_a_schedule_is_followed(tmp_path):
    from dlskills import Momentum, schedules

    def made():
        return Momentum(lr=schedules.CosineDecay(0.1, steps=30))

    write_play(tmp_path / "play.html", rules=[made()])
    script = (
        "follow(RULES[0], RULES[0].numbers.map((one) => one.value), SURFACES.bowl, [-7, 2], 60)"
    )
    path = result_of(script, tmp_path, (tmp_path / "play.html").read_text(encoding="utf-8"))
    numbers = run(Settings(verbose=False), points=60, optimizers=[made()])
    np.testing.assert_allclose(path, numbers["paths"]["Momentum"], rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@needs_chromium
def test_a_function_of_a_file_is_followed(tmp_path):
    path = tmp_path / "waves_to_play.py"
    path.write_text(WAVES, encoding="utf-8")
    function = f"{path}:waves"
    write_play(tmp_path / "play.html", functions=[function])
    script = """(() => {
      const adam = RULES.findIndex((one) => one.name === "Adam");
      const values = RULES[adam].numbers.map(({ name, value }) => (name === "lr" ? 0.2 : value));
      return follow(RULES[adam], values, Object.values(SURFACES)[0], [-4, 3], 60);
    })()"""
    found = result_of(script, tmp_path, (tmp_path / "play.html").read_text(encoding="utf-8"))
    numbers = run(Settings(verbose=False), points=60, function=function, optimizers=["Adam:lr=0.2"])
    # central differences multiply the last bits in which two sine functions differ
    np.testing.assert_allclose(found, numbers["paths"]["Adam"], rtol=1e-7, atol=1e-7)


@pytest.mark.slow
@needs_chromium
def test_activations_are_those_of_python(page, tmp_path):
    script = """(() => {
      const inputs = normals(1, 40 * 10);
      const draws = [2, 3, 4].map((seed) => normals(seed, 100));
      const layers = Object.fromEntries(Object.entries(ACTIVATIONS).map(([name, one]) => [
        name, propagate(one.apply, inputs, draws, 10, 0.7).map((values) => [...values])]));
      const many = normals(5, 100000);
      return { inputs: [...inputs], draws: draws.map((one) => [...one]), layers,
        described: describe(many), quarter: many.filter((value) => value < -0.6745).length };
    })()"""
    found = result_of(script, tmp_path, page)
    assert set(found["layers"]) == set(ACTIVATIONS)
    for name, layers in found["layers"].items():
        x = np.reshape(found["inputs"], (40, 10))
        for weights, values in zip(found["draws"], layers, strict=True):
            x = ACTIVATIONS[name]().forward(x @ (0.7 * np.reshape(weights, (10, 10))))
            np.testing.assert_allclose(np.ravel(x), values, rtol=1e-9, atol=1e-12, err_msg=name)
    assert abs(found["described"]["mean"]) < 0.02
    assert abs(found["described"]["std"] - 1) < 0.02
    assert abs(found["quarter"] / 100000 - 0.25) < 0.01


@pytest.mark.slow
@needs_chromium
def test_a_users_activations_are_those_of_numpy(own_activations, tmp_path):
    names = ("Bent", "swish_of_mine", "bump")
    path = tmp_path / "play.html"
    write_play(path, activations=[f"{own_activations}:{name}" for name in names])
    inputs = np.linspace(-6, 6, 101)
    script = f"""Object.fromEntries({list(names)}.map((name) => [name,
      {inputs.tolist()}.map((x) => ACTIVATIONS[name].apply(x)[0])]))"""
    found = result_of(script, tmp_path, path.read_text(encoding="utf-8"))
    module = sys.modules[own_activations.stem]
    expected = {
        "Bent": module.Bent().forward(inputs),
        "swish_of_mine": inputs / (1 + np.exp(-1.5 * inputs)),
        "bump": module.bump(inputs),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, atol=1e-12, err_msg=name)


STATE = """({
  path: document.querySelector("#drawn polyline:not([stroke-dasharray])").getAttribute("points"),
  rate: document.getElementById("number-lr-number").value,
  start: ["x", "y"].map((axis) => Number(document.getElementById(`start-${axis}-number`).value)),
  layers: document.querySelectorAll(".layer:not([hidden])").length,
  focus: document.activeElement.id,
})"""


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("width", [1200, 390])
def test_arrow_keys_move_sliders_and_the_start_point(page, tmp_path, width):
    path = tmp_path / "play.html"
    path.write_text(page, encoding="utf-8")
    with opened(tmp_path) as shown:
        shown.open(path.as_uri(), width=width)

        def after(id, key, times):
            shown.value(f"document.getElementById('{id}').focus()")
            shown.press(key, times)
            return shown.value(STATE)

        before = shown.value(STATE)
        rate = after("number-lr-range", "ArrowRight", 40)
        right = after("start-x-range", "ArrowRight", 20)
        left = after("start-x-range", "ArrowLeft", 20)
        down = after("start-y-range", "ArrowDown", 30)
        deeper = after("depth-range", "ArrowUp", 2)
        shown.press("Tab")
        tabbed = shown.value(STATE)
        assert shown.console == []
    assert float(rate["rate"]) > 1.5 * float(before["rate"])
    assert rate["focus"] == "number-lr-range"  # it keeps the focus while it moves
    assert right["start"][0] > rate["start"][0] + 0.5
    assert left["start"][0] == pytest.approx(rate["start"][0], abs=0.06)
    assert down["start"][1] < left["start"][1] - 0.3
    assert down["start"][0] == left["start"][0]
    assert len({state["path"] for state in (before, rate, right, down)}) == 4
    firsts = [state["path"].split()[0] for state in (rate, right, down)]
    assert len(set(firsts)) == 3  # the path begins at the start point
    assert deeper["layers"] == before["layers"] + 2
    assert tabbed["focus"] == "depth-number"


# A page around a part of it, as on the documentation's site.
AROUND_PART = """<!DOCTYPE html><iframe src="play.html?part=%s" style="width: 600px"></iframe>
<script>
addEventListener("message", ({ source, data }) => {
  window.heard = data;
  source.postMessage({ theme: "dark" }, "*");
});
</script>"""

INSIDE = """({
  shown: [...document.querySelectorAll("h1, h2, header, footer, #paths, #activations")]
    .filter((one) => one.checkVisibility()).map((one) => one.id),
  height: document.body.scrollHeight,
  theme: document.documentElement.dataset.theme,
  paper: getComputedStyle(document.documentElement).backgroundColor,
})"""


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("part", ["paths", "activations"])
def test_a_frame_shows_one_part_in_the_colours_of_the_page_around_it(page, tmp_path, part):
    tells = f"setTimeout(() => parent.postMessage({INSIDE}, '*'), 500)"
    probe = f"<script>addEventListener('load', () => {tells});</script></body>"
    (tmp_path / "play.html").write_text(page.replace("</body>", probe), encoding="utf-8")
    (tmp_path / "around.html").write_text(AROUND_PART % part, encoding="utf-8")
    with opened(tmp_path) as shown:
        shown.open((tmp_path / "around.html").as_uri())
        for _ in range(100):
            heard = shown.value("window.heard")
            if heard and "shown" in heard:
                break
            time.sleep(0.05)
        assert shown.console == []
    assert heard["shown"] == [part]
    assert heard["height"] > 300
    assert (heard["theme"], heard["paper"]) == ("dark", "rgb(23, 23, 23)")


# What a reader does, and what the page looks like then.
PROBE = """<script>
const errors = [];
addEventListener("error", (event) => errors.push(event.message));
const find = (id) => document.getElementById(id);
const wait = () => new Promise((resolve) => setTimeout(resolve, 100));
const count = (what) => document.querySelectorAll(what).length;
const drawn = () => (
  document.querySelector("#drawn polyline:not([stroke-dasharray])").getAttribute("points"));
const bars = () => document.querySelector(".layer path").getAttribute("d");
const put = (input, value) => { input.value = value; input.dispatchEvent(new Event("input")); };
const choose = (id, value) => {
  find(id).value = value;
  find(id).dispatchEvent(new Event("change"));
};
const nameOf = (input) => {
  const by = input.getAttribute("aria-labelledby");
  return (by ? find(by) : input.labels[0])?.innerText.trim();
};
const look = () => ({
  lang: document.documentElement.lang,
  title: document.title,
  heading: document.querySelector("h1").innerText,
  shown: document.querySelector("main").innerText,
  paper: getComputedStyle(document.documentElement).backgroundColor,
  ink: getComputedStyle(document.querySelector("#plot text")).fill,
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  cut: [...document.querySelectorAll("main *")].filter((one) => {
    const { width, left, right } = one.getBoundingClientRect();
    return width && !one.closest("#drawn") && !one.closest("option")
      && (left < 0 || right > document.documentElement.clientWidth + 1);
  }).map((one) => one.outerHTML.slice(0, 80)),
  names: [...document.querySelectorAll("main input, main select")].map(nameOf),
});
addEventListener("load", async () => {
  await wait();
  const seen = { before: look(), steps: {} };
  const record = (name) => {
    seen.steps[name] = {
      path: drawn(),
      bars: bars(),
      height: find("height").innerText,
      diverged: !find("diverged").hidden,
      layers: count(".layer:not([hidden])"),
      kept: find("kept").innerText,
      dashed: count("#drawn [stroke-dasharray]"),
      fields: find("hyperparameters").innerText,
      start: [find("start-x-number").value, find("start-y-number").value],
    };
  };
  const act = (name, action) => { action(); record(name); };
  act("begin", () => {});
  act("rate", () => {
    const range = find("number-lr-range");
    range.focus();
    seen.focused = document.activeElement === range;
    range.stepUp(20); // as a key does
    range.dispatchEvent(new Event("input"));
  });
  act("typed", () => put(find("number-lr-number"), "0.5"));
  act("refused", () => put(find("number-lr-number"), "-1"));
  seen.invalid = find("number-lr-number").getAttribute("aria-invalid");
  act("keep", () => find("keep").click());
  act("momentum", () => choose("rule", RULES.findIndex((one) => one.name === "Momentum")));
  act("diverged", () => put(find("number-lr-number"), "5"));
  act("reset", () => find("reset").click());
  act("removed", () => find("kept").querySelector("button").click());
  act("start", () => {
    const box = find("plot").getBoundingClientRect();
    find("plot").dispatchEvent(new PointerEvent("pointerdown", {
      clientX: box.left + box.width / 2, clientY: box.top + box.height / 3 }));
  });
  for (let i = 0; i < Object.keys(SURFACES).length; i++) {
    act("surface " + i, () => choose("surface", i));
    (seen.cut ??= []).push(...look().cut);
  }
  for (let i = 0; i < RULES.length; i++) {
    act("rule " + i, () => choose("rule", i));
    (seen.cut ??= []).push(...look().cut);
  }
  act("spread", () => document.querySelectorAll("#spreads button")[1].click());
  act("depth", () => put(find("depth-range"), DEEPEST - 1));
  act("again", () => find("draw-again").click());
  for (let i = 0; i < Object.keys(ACTIVATIONS).length; i++) {
    act("activation " + i, () => choose("activation", i));
    seen.cut.push(...look().cut);
  }
  document.querySelector('[data-language="zh-Hans"]').click();
  seen.chinese = look();
  document.querySelector("[data-dark]").click();
  seen.dark = look();
  parent.postMessage({ errors, ...seen }, "*");
});
</script>"""


@pytest.fixture(scope="module")
def seen(page, tmp_path_factory):
    """What the probe saw at a width of 1200 and of 390 pixels."""
    folder = tmp_path_factory.mktemp("probed")
    probed = page.replace("</title>", "</title>" + PROBE, 1)
    (folder / "probed.html").write_text(probed, encoding="utf-8")
    address = (folder / "probed.html").as_uri()
    return {width: told(address, folder, width=width, reader=str(width)) for width in (1200, 390)}


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("width", [1200, 390])
def test_nothing_fails_and_nothing_is_cut(seen, width):
    told_by_page, console = seen[width]
    assert told_by_page["errors"] == []
    assert console == []
    assert told_by_page["cut"] == []
    for state in ("before", "chinese", "dark"):
        assert told_by_page[state]["overflow"] <= 0
        assert told_by_page[state]["cut"] == []


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("width", [1200, 390])
def test_sliders_and_choices(seen, width):
    told_by_page, _ = seen[width]
    steps = told_by_page["steps"]
    assert told_by_page["focused"]
    assert steps["rate"]["path"] != steps["begin"]["path"]
    assert steps["typed"]["path"] not in (steps["rate"]["path"], steps["begin"]["path"])
    assert told_by_page["invalid"] == "true"
    assert steps["refused"]["path"] == steps["typed"]["path"]
    assert (steps["keep"]["dashed"], steps["keep"]["kept"].split("\n")[0]) == (1, "Own, lr = 0.5")
    assert "momentum" in steps["momentum"]["fields"]
    assert steps["diverged"]["diverged"]
    assert not steps["reset"]["diverged"]
    assert steps["reset"]["path"] == steps["momentum"]["path"]
    assert steps["removed"]["dashed"] == 0
    x, y = map(float, steps["start"]["start"])
    assert -1.5 < x < 1.5
    assert 1 < y < 3
    heights = [steps[f"surface {i}"]["height"] for i in range(len(SURFACES))]
    assert len(set(heights)) == len(SURFACES)
    paths = [steps[f"rule {i}"]["path"] for i in range(len(OPTIMIZERS) + 1)]
    assert len(set(paths)) > len(OPTIMIZERS) - 2  # some rules differ by less than a pixel
    assert steps["begin"]["layers"] == 5
    assert steps["depth"]["layers"] == play.DEEPEST
    histograms = [steps[name]["bars"] for name in ("begin", "spread", "again")]
    assert len(set(histograms)) == 3


@pytest.mark.slow
@needs_chromium
def test_every_control_has_a_name_in_the_language_shown(seen):
    told_by_page, _ = seen[1200]
    for state in ("before", "chinese"):
        assert all(told_by_page[state]["names"])
    assert "Number of layers" in told_by_page["before"]["names"]
    assert "层数" in told_by_page["chinese"]["names"]
    assert not any("Number" in name for name in told_by_page["chinese"]["names"])


@pytest.mark.slow
@needs_chromium
def test_languages_and_colours(seen):
    told_by_page, _ = seen[1200]
    before, chinese, dark = (told_by_page[state] for state in ("before", "chinese", "dark"))
    assert before["title"] == before["heading"] == play.WORDS("title").en
    assert chinese["title"] == chinese["heading"] == play.WORDS("title").zh
    assert play.WORDS("about").zh in chinese["shown"]
    assert play.WORDS("about").en not in chinese["shown"]
    assert (before["paper"], before["ink"]) == ("rgb(255, 255, 255)", "rgb(0, 0, 0)")
    assert (dark["paper"], dark["ink"]) == ("rgb(23, 23, 23)", "rgb(230, 230, 230)")
