"""Formulas for tests of engines, with operands and problem shapes."""

import numpy as np

from dlskills.formulas.formula import along, elementwise

# The letters in FORMULAS are operands: x an array of the full shape, i integers of that shape,
# l one value per line, a one value per position along a line, n a number, 0 a number on the device.


@along
def softmax(xp):
    def y(x, axis):
        e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
        return e / xp.sum(e, axis=axis, keepdims=True)

    return y


@along
def softmax_loss(xp):
    def loss_and_gradient(x, labels, classes, share, axis):
        shifted = x - xp.max(x, axis=axis, keepdims=True)
        e = xp.exp(shifted)
        total = xp.sum(e, axis=axis, keepdims=True)
        t = xp.astype(labels == classes, x.dtype) * share
        return xp.sum((xp.log(total) - shifted) * t), e * (share / total) - t

    return loss_and_gradient


@along
def batch_norm(xp):
    def forward(x, gamma, beta, running_mean, running_var, rate, epsilon, axis):
        mean = xp.mean(x, axis=axis, keepdims=True)
        centred = x - mean
        var = xp.mean(centred * centred, axis=axis, keepdims=True)
        return (
            centred * (gamma / xp.sqrt(var + epsilon)) + beta,
            mean,
            var,
            running_mean + rate * (mean - running_mean),
            running_var + rate * (var - running_var),
        )

    return forward


@along
def batch_norm_backward(xp):
    def dx(dout, x, mean, var, gamma, epsilon, share, axis):
        inverse = 1 / xp.sqrt(xp.abs(var) + epsilon)
        normalized = (x - mean) * inverse
        dgamma = xp.sum(dout * normalized, axis=axis, keepdims=True)
        dbeta = xp.sum(dout, axis=axis, keepdims=True)
        both = normalized * (share * dgamma) + share * dbeta
        return (dout - both) * (gamma * inverse), dgamma, dbeta

    return dx


@along
def relu_backward_bias(xp):
    def dx(dout, y, axis):
        masked = dout * xp.astype(y > 0, dout.dtype)
        return masked, xp.sum(masked, axis=axis, keepdims=True)

    return dx


@along
def layer_norm(xp):
    def forward(x, gamma, beta, epsilon, axis):
        normalized = (x - xp.mean(x, axis=axis, keepdims=True)) / (
            xp.std(x, axis=axis, keepdims=True) + epsilon
        )
        return normalized * gamma + beta

    return forward


@along
def rms_norm(xp):
    return lambda x, epsilon, axis: x / xp.sqrt(xp.mean(x * x, axis=axis, keepdims=True) + epsilon)


@along
def squared_error(xp):
    def loss_and_gradient(x, t, axis):
        d = x - t
        return xp.mean(d * d), d * 2

    return loss_and_gradient


@along
def weight_decay(xp):
    def decayed(grad, param, decay, loss, axis):
        return grad + decay * param, loss + xp.sum(decay * param * param) / 2

    return decayed


@along
def sums_of_lines(xp):
    def sums(x, weight, axis):
        total = xp.sum(x, axis=axis, keepdims=True)
        largest = xp.max(x, axis=axis, keepdims=True)
        return xp.sum(total * weight), xp.mean(x), xp.sum(largest), largest

    return sums


@along
def extremes(xp):
    def low_and_high(x, axis):
        return xp.min(x, axis=axis, keepdims=True), xp.max(x, axis=axis, keepdims=True)

    return low_and_high


@along
def shifted(xp):
    return lambda x, by, per_line, axis: x + by * per_line


@elementwise
def gelu(xp):
    return lambda x: x / 2 * (1 + xp.tanh(0.8 * (x + 0.04 * x**3)))


@elementwise
def chosen(xp):
    def several(x, i, per_line, factor, number):
        condition = (i > 0) & (x < number)
        return xp.where(condition, x * factor, per_line), xp.maximum(x, i), condition

    return several


FORMULAS = {
    softmax: "x", softmax_loss: "xlan", batch_norm: "xllllnn", batch_norm_backward: "xxlllnn",
    relu_backward_bias: "xx", layer_norm: "xaan", rms_norm: "x0", squared_error: "xx",
    weight_decay: "xxn0", sums_of_lines: "xl", extremes: "x", shifted: "xal", gelu: "x",
    chosen: "xil0n",
}  # fmt: skip


# Operands


def shape_of(kind, shape, axes):
    axes = {a % len(shape) for a in axes}
    if kind in "xi":
        return shape
    if kind in "n0":
        return ()
    return tuple(1 if (d in axes) == (kind == "l") else n for d, n in enumerate(shape))


def operands_for(formula, shape, axes, dtype, rng):
    """Return operands on the host; numbers are Python numbers."""
    made = []
    for position, kind in enumerate(FORMULAS[formula]):
        if kind == "n":
            made.append(0.25)
        elif kind == "i" or (formula is softmax_loss and position in (1, 2)):
            made.append(rng.integers(-2, 3, shape_of(kind, shape, axes)))
        else:
            made.append(rng.standard_normal(shape_of(kind, shape, axes)).astype(dtype))
            if kind == "0":
                made[-1] = np.asarray(np.abs(made[-1]))  # a 0-d array, not a NumPy scalar
    return made


PROBLEMS = {
    "rows": ((37, 10), (1,)),
    "rows of a warp": ((130, 100), (1,)),
    "blocks": ((6, 1000), (1,)),
    "columns": ((100, 37), (0,)),
    "images": ((6, 3, 5, 7), (0, 2, 3)),
    "large images": ((3, 2, 20, 30), (0, 2, 3)),
    "all": ((40, 50), (0, 1)),
}


def fits(formula, problem):
    shape, axes = PROBLEMS[problem]
    return len(axes) < len(shape) or not set("la") & set(FORMULAS[formula])


EACH = [
    (formula, problem) for formula in FORMULAS for problem in PROBLEMS if fits(formula, problem)
]
