"""Step-by-step comparison of two runs: the first difference is named."""

import re
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from dlskills import cli
from dlskills.diagnostics import compare
from dlskills.diagnostics.compare import Way
from dlskills.layers import Affine, ReLU
from dlskills.optimizers import ENGINES

PLAIN, BLOCKED = Way(engine="plain"), Way(engine="blocked")
DOUBLE = Way(dtype="float64")


def test_equal_runs_are_bit_identical():
    result = compare.compare(PLAIN, PLAIN, steps=3, dropout_ratio=0.2, use_batchnorm=True)
    assert result.first is None
    assert result.largest.ulp == 0
    assert result.steps == 3


def test_engines_agree():
    assert compare.compare(PLAIN, BLOCKED, steps=3, optimizer="adam").largest.ulp <= 16


def test_single_precision_differs_by_rounding():
    result = compare.compare(Way(), DOUBLE, activation="sigmoid", steps=5)
    assert result.first is None
    assert 0 < result.largest.ulp < 256
    first = compare.compare(Way(), DOUBLE, activation="sigmoid", steps=5, tolerance=0).first
    assert first.step == 1
    assert first.tensor == "the output of layers[0], Affine(784, 100, he())"
    assert 0 < first.ulp <= result.largest.ulp


@pytest.mark.parametrize(
    ("kind", "method", "tensor"),
    [
        (ReLU, "forward", r"the output of layers\[1\], ReLU\(\)"),
        (Affine, "backward", "the gradient of b5"),
    ],
)
def test_the_first_wrong_tensor_is_named(monkeypatch, kind, method, tensor):
    """Only the float64 run has a fault, from its third step."""
    right, calls = getattr(kind, method), []

    def wrong(layer, array, *args):
        out = right(layer, array, *args)
        if array.dtype == np.float64:
            calls.append(layer)
            if calls.count(layer) == 3 and layer is calls[0]:
                if method == "forward":
                    return out * (1 + 1e-3)
                layer.grads["b"] = layer.grads["b"] + 1e-3
        return out

    monkeypatch.setattr(kind, method, wrong)
    first = compare.compare(Way(), DOUBLE, steps=4).first
    assert first.step == 3
    assert re.fullmatch(tensor, first.tensor)
    assert first.ulp > 1000


@pytest.mark.parametrize(
    ("ours", "theirs", "ulp"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0),
        ([1.0, 2.0], [1.0, 2.0 + 2.0**-22], 1),
        ([1e-9, 2.0], [2e-9, 2.0], 1e-9 * 2**22),  # a small value next to a large one
        ([np.nan, 1.0], [np.nan, 1.0], 0),
        ([np.nan, 1.0], [0.0, 1.0], np.inf),
        ([np.nan, 2.0], [np.nan, 2.0 + 2.0**-22], 1),  # from the finite elements
        ([np.inf, 2.0], [np.inf, 2.0 + 2.0**-22], 1),
        ([np.inf, 1.0], [1.0, 1.0], np.inf),
        ([np.inf, 1.0], [-np.inf, 1.0], np.inf),
        ([], [], 0),
    ],
)
def test_differences_are_measured_in_units_in_the_last_place(ours, theirs, ulp):
    ours, theirs = {"w": np.asarray(ours)}, {"w": np.asarray(theirs)}
    scale = compare._scales(ours, theirs)["w"]
    found = compare._difference(1, "w", ours["w"], theirs["w"], scale, 2.0**-23)
    assert found.ulp == pytest.approx(ulp)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [({"steps": 0}, ValueError), ({"tolerance": -1}, ValueError), ({"optimizer": "a"}, ValueError)],
)
def test_invalid_arguments_are_refused(wrong, error):
    with pytest.raises(error):
        compare.compare(PLAIN, BLOCKED, **wrong)


@pytest.mark.backends("cupy")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "network",
    [
        {"optimizer": "SGD", "use_batchnorm": True, "dropout_ratio": 0.2},
        {"optimizer": "Adam", "dropout_ratio": 0.2},  # with Batch Norm, Adam would amplify rounding
    ],
)
def test_cpu_and_gpu_agree_over_fifty_steps(backend, dtype, network):
    ways = Way("cpu", dtype), Way("cuda", dtype)
    relative = {"float32": 1e-5, "float64": 1e-12}[dtype]
    tolerance = relative / np.finfo(dtype).eps
    # Sigmoid, since rounding flips the sign of some of a ReLU's two million inputs; which ones
    # depends on the processor.
    result = compare.compare(*ways, **network, activation="sigmoid", steps=50, tolerance=tolerance)
    assert result.first is None, str(result.first)


def test_a_gradient_of_rounding_errors_only_is_no_difference():
    result = compare.compare(Way(), DOUBLE, activation="sigmoid", steps=3, use_batchnorm=True)
    assert result.first is None


# The command


def invoke(*args):
    return CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, ["compare", *map(str, args)])


def test_the_command_reports_agreement():
    result = invoke("--engine", "plain", "--engine", "blocked", "--steps", 2)
    assert result.exit_code == 0
    assert "compared (cpu, float32, plain) with (cpu, float32, blocked)" in result.output
    assert "they agree bit for bit over 2 steps" in result.output
    result = invoke("--dtype", "float32", "--dtype", "float64", "--steps", 2)
    assert result.exit_code == 0
    assert "they agree within 1024 ulp over 2 steps" in result.output
    assert "the largest difference is at step " in result.output


def test_the_command_reports_the_first_difference():
    result = invoke("--dtype", "float32", "--dtype", "float64", "--steps", 2, "--tolerance", 0)
    assert result.exit_code == 1
    assert "they differ by more than 0 ulp, first at step 1, the output of" in result.output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--engine", "plian"], "engine 'plian' is not known; did you mean 'plain'"),
        (["--device", "gpu"], "device must be 'cpu'"),
        (["--dtype", "float16"], "dtype 'float16' is not known"),
        (["--optimizer", "Adm"], "optimizer 'Adm' is not known; did you mean 'adam'"),
        (["--dropout", "1.5"], "dropout must be at least 0 and less than 1"),
    ],
)
def test_wrong_names_are_reported_before_missing_options(args, message):
    assert message in str(invoke(*args).exception)


def test_an_unavailable_engine_gives_a_one_line_error(monkeypatch, capsys):
    monkeypatch.setattr(type(ENGINES["blocked"]), "missing", lambda self: "gone")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # typer sets its own
    monkeypatch.setattr(sys, "argv", ["dlskills", "compare", "--engine", "blocked"])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err.endswith("error: engine 'blocked' is not available: gone\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "the two runs must differ"),
        (["--engine", "plain", "--engine", "plain"], "the two runs must differ"),
        (["--dtype", "float32"] * 3, "--dtype must be given at most twice, got 3"),
    ],
)
def test_the_command_needs_two_different_runs(args, message):
    result = invoke(*args)
    assert result.exit_code == 2
    assert message in result.output
