"""The page in a browser, over every experiment: slow, and skipped without chromium."""

import pytest
from browser import needs_chromium, told

from dlskills.experiments import EXPERIMENTS, Settings, run
from dlskills.report import write_play, write_report

pytestmark = [pytest.mark.slow, needs_chromium]

# Written into the page: what it looks like to a reader, told to the page around it.
PROBE = """<script>
const errors = [];
addEventListener("error", (event) => errors.push(event.message));
addEventListener("load", () => setTimeout(() => {
  const look = () => ({
    lang: document.documentElement.lang,
    title: document.title,
    heading: document.querySelector("h1").innerText,
    shown: document.querySelector("main").innerText,
    pressed: [...document.querySelectorAll("[aria-pressed=true]")].map((b) => b.innerText.trim()),
    paper: getComputedStyle(document.documentElement).backgroundColor,
    ink: getComputedStyle(document.querySelector("svg text")).fill,
    hash: location.hash,
  });
  const figures = [...document.querySelectorAll("svg")].map((svg) => {
    const { width, height } = svg.getBoundingClientRect();
    return [svg.id, width, height];
  });
  const { scrollWidth, clientWidth } = document.documentElement;
  const before = look();
  document.querySelector('[data-language="zh-Hans"]').click();
  const chinese = look();
  document.querySelector("[data-dark]").click();
  const dark = look();
  const links = [...document.querySelectorAll("a[href]")].map((a) => a.getAttribute("href"));
  const lost = links.filter((href) => href.startsWith("#")
    && !document.getElementById(decodeURIComponent(href.slice(1))));
  const controls = [...document.querySelectorAll("a[href], button, .scroll.over")];
  const unreachable = controls.filter((one) => {
    one.focus();
    return one.checkVisibility() && (document.activeElement !== one || one.tabIndex < 0);
  }).map((one) => one.outerHTML.slice(0, 80));
  document.querySelector(".skip").click();
  const skipped = location.hash;
  document.querySelector("[data-dark]").click();
  const light = look();
  document.querySelector("[data-dark]").click(); // the choice that is kept
  parent.postMessage({ errors, figures, scrollWidth, clientWidth, before, chinese, dark, links,
    lost, controls: controls.length, unreachable, skipped, light }, "*");
}, 100));
</script>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the page, on which the probe looks at itself."""
    folder = tmp_path_factory.mktemp("report")
    records = run(list(EXPERIMENTS), Settings(verbose=False), quick=True)
    write_report(records, folder / "report.html", jobs=2, play="play.html")
    write_play(folder / "play.html")
    page = (folder / "report.html").read_text(encoding="utf-8")
    probed = page.replace("</title>", "</title>" + PROBE, 1)
    (folder / "probed.html").write_text(probed, encoding="utf-8")
    return folder


@pytest.fixture
def visit(folder, tmp_path):
    """Opens the page at a width, and gives what the probe saw and what the console got."""

    def visit(width, hash="", reader="one"):
        source = (folder / "probed.html").as_uri() + hash
        return told(source, tmp_path, width=width, reader=reader)

    return visit


@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_fails_and_nothing_overflows(visit, width):
    seen, console = visit(width)
    assert seen["errors"] == []
    assert console == []
    assert seen["clientWidth"] <= width
    assert seen["scrollWidth"] <= seen["clientWidth"]
    assert len(seen["figures"]) >= len(EXPERIMENTS)
    shown = {id: (wide, high) for id, wide, high in seen["figures"] if wide}
    assert all(wide > 100 and high > 100 for wide, high in shown.values())
    narrow = {id for id in shown if id.endswith("-narrow")}
    assert narrow == (set(shown) if width < 640 else set())
    assert 2 * len(shown) == len(seen["figures"])
    assert all(wide <= seen["clientWidth"] for wide, _ in shown.values())  # nothing is cut


def test_the_language_switch(visit):
    seen, _ = visit(1200)
    before, chinese = seen["before"], seen["chinese"]
    assert (before["lang"], chinese["lang"]) == ("en", "zh-Hans")
    assert (before["pressed"], chinese["pressed"]) == (["English"], ["中文"])
    for state in (before, chinese):
        assert state["title"] == state["heading"]
    assert chinese["hash"] == "#zh"
    for experiment in EXPERIMENTS.values():
        assert experiment.about.en in before["shown"]
        assert experiment.about.zh not in before["shown"]
        assert experiment.about.zh in chinese["shown"]
        assert experiment.about.en not in chinese["shown"]


def test_the_address_can_name_the_language(visit):
    assert visit(1200, "#zh")[0]["before"]["lang"] == "zh-Hans"
    assert visit(1200, "#optimizer-mnist", "two")[0]["before"]["lang"] == "en"


def test_a_readers_choices_are_kept(visit):
    visit(1200)
    seen, _ = visit(1200)
    assert seen["before"]["lang"] == "zh-Hans"
    assert seen["before"]["paper"] == "rgb(23, 23, 23)"


def test_dark_colours_hold_for_the_figures_too(visit):
    seen, _ = visit(1200)
    light, dark = seen["before"], seen["dark"]
    assert (light["paper"], light["ink"]) == ("rgb(255, 255, 255)", "rgb(0, 0, 0)")
    assert (dark["paper"], dark["ink"]) == ("rgb(23, 23, 23)", "rgb(230, 230, 230)")


def test_every_link_leads_somewhere(visit, folder):
    seen, _ = visit(1200)
    assert len(seen["links"]) > 2 * len(EXPERIMENTS)
    assert seen["lost"] == []
    files = {link for link in seen["links"] if not link.startswith("#")}
    assert files == {"play.html"}
    assert all((folder / file).is_file() for file in files)


@pytest.mark.parametrize("width", [390, 1200])
def test_the_keyboard_reaches_every_control(visit, width):
    seen, _ = visit(width)
    assert seen["controls"] > 2 * len(EXPERIMENTS)
    assert seen["unreachable"] == []
    assert seen["skipped"] == "#content"


def test_the_switch_of_colours_switches_back(visit):
    seen, _ = visit(1200)
    assert seen["light"]["paper"] == seen["before"]["paper"]
