"""Small experiments and records for the report's tests."""

from dlskills.experiments.claims import Check, Claim, tutorial
from dlskills.experiments.experiment import Experiment
from dlskills.experiments.outcome import Record
from dlskills.experiments.settings import Settings
from dlskills.experiments.tables import Number, Table
from dlskills.experiments.text import Text
from dlskills.plotting import new_figure, styled


def run(settings, *, iterations=7, name="<a>"):
    return {"n": 2.0}


@styled
def plot(runs):
    (numbers, *_), figures = runs, {}
    for name in ("first", "second"):
        figure, axes = new_figure(size=(4, 3))
        axes.plot([0, 1, numbers["n"]], "o-", color="#000000", label="a < b & c")
        axes.set_title(f"title of {name}")
        for x in (0, 1):  # equal images, for which Matplotlib has equal ids
            inset = axes.inset_axes([x / 2, 0.5, 0.2, 0.2])
            inset.imshow([[0, 1], [1, 0]], cmap="gray")
            inset.axis("off")
        axes.set_xlabel(str(Text("learning rate", "学习率")))
        axes.legend()
        figures[name] = figure
    return figures


def table(numbers):
    rows = [["a & b", Number(numbers["n"], ".4g")], ["second", "<b>2</b>"]]
    return Table([Text("method", "方法"), "f(<x>)"], rows)


CLAIMS = (
    Claim(
        Text("n is above 1 & < 5.", "n 大于 1 且 < 5。"),
        (
            Check(Text("the number n", "数 n"), lambda n: n["n"], at_least=1.5, at_most=5),
            Check(Text("its highest", "最大的 n"), lambda n: n["n"], at_most=9, combine=max),
        ),
        tutorial("momentum"),
    ),
    Claim(
        Text("n is large.", "n 很大。"),
        (Check(Text("n once more", "再看 n"), lambda n: n["n"], at_least=100),),
        remark=Text("It is <not>.", "其实<不大>。"),
    ),
)


def experiment(name, **changes):
    parts = {
        "title": Text(f"Title <of> {name}", f"{name} 的<标题>"),
        "about": Text(f"About {name} & more.", f"关于 {name} 等。"),
        "claims": CLAIMS,
        "alt": {"first": Text(f"{name} falls", f"{name} 下降"),
                "second": Text(f"{name} rises", f"{name} 上升")},
        "run": run, "plot": plot, "table": table,
    }  # fmt: skip
    return Experiment(name=name, **(parts | changes))


EXPERIMENTS = {"one": experiment("one"), "two": experiment("two", random=False)}
DEFAULTS = {"iterations": 7, "name": "<a>"}


def record(name, seed=0, *, quick=False, n=2.0, **options):
    settings = Settings(seed, verbose=False)
    chosen = DEFAULTS | options
    return Record(name, settings, chosen, quick, "cpu (NumPy)", "plain", 1.5, {"n": n})


RECORDS = {
    "one": [record("one", seed, n=n) for seed, n in enumerate([1.25, 2.0, 4.0])],
    "two": [record("two")],
}
