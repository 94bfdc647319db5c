"""An experiment of your own: run it, judge its claims, and put it into a report.

    dlskills run examples/own_experiment.py --seeds 3
    dlskills run examples/own_experiment.py --rates "0.1, 1, 3" --theme dark --lang zh
    dlskills report examples/own_experiment.py

The question: how large may SGD's learning rate be for a small network on 1,000 digits?
"""

from dlskills import SGD, MultiLayerNet, Trainer, load_mnist
from dlskills.experiments import Check, Claim, Experiment, Number, Option, Table, Text
from dlskills.experiments.choices import parse_rates
from dlskills.experiments.drawing import draw_curve, legend_below, titled
from dlskills.plotting import new_figure, styled

TITLE = Text("How large may a learning rate be?", "学习率可以有多大？")


def run(settings, *, rates=(0.01, 0.1, 1.0), epochs=5):
    """Return the numbers of one seed: what JSON can hold."""
    (x_train, t_train), (x_test, t_test) = load_mnist(subset=settings.subset)
    numbers = {"accuracy": {}}
    for rate in rates:
        network = MultiLayerNet(784, [50], 10, seed=settings.seed, device=settings.device)
        trainer = Trainer(
            network, x_train[:1000], t_train[:1000], x_test[:1000], t_test[:1000],
            epochs=epochs, mini_batch_size=50, optimizer=SGD(lr=rate), verbose=False,
            seed=settings.seed,
        )  # fmt: skip
        trainer.train()
        numbers["accuracy"][f"{rate:g}"] = trainer.test_acc_list
    return numbers


@styled
def plot(runs):
    """Return figures by name; `runs` has the numbers of each seed."""
    figure, panel = new_figure()
    for i, rate in enumerate(runs[0]["accuracy"]):
        # several seeds are drawn as their median and range
        draw_curve(panel, None, [numbers["accuracy"][rate] for numbers in runs], i, rate)
    titled(panel, TITLE)
    panel.set(xlabel=str(Text("epoch", "epoch")), ylabel=str(Text("accuracy", "精度")), ylim=(0, 1))
    legend_below(figure, panel)
    return {"learning-rates": figure}


def table(numbers):
    """Return the table of one seed; over several, a Number becomes mean and standard deviation."""
    rows = [[rate, Number(curve[-1], ".1%")] for rate, curve in numbers["accuracy"].items()]
    return Table([Text("learning rate", "学习率"), Text("accuracy", "精度")], rows)


experiment = Experiment(
    name="learning-rates",
    title=TITLE,
    about=Text(
        "A network with one hidden layer of 50 units learns 1,000 digits at several rates.",
        "隐藏层有 50 个神经元的网络以多种学习率学习 1,000 个数字。",
    ),
    run=run,
    plot=plot,
    table=table,
    claims=[
        Claim(
            Text("A rate of 0.1 is better than one of 0.01.", "学习率 0.1 比 0.01 更好。"),
            [
                Check(
                    Text("accuracy at the end, 0.1 minus 0.01", "最终精度：0.1 减 0.01"),
                    lambda n: n["accuracy"]["0.1"][-1] - n["accuracy"]["0.01"][-1],
                    at_least=0.02,
                    form=".1%",
                    bound=Text("twice the standard error of 1,000 images", "标准误差的两倍"),
                )
            ],
        )
    ],
    options={
        "rates": Option("Learning rates, such as '0.1, 1'.", parse_rates("rates", above=0)),
        "epochs": "Epochs, of 20 batches each.",
    },
    quick={"epochs": 2},
)
