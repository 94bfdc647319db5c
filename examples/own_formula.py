"""A layer of your own with a reduction: softmax, as formulas that every engine runs."""

import numpy as np

import dlskills
from dlskills import Layer, along


@along
def softmax(xp):
    def y(x, axis):
        e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
        return e / xp.sum(e, axis=axis, keepdims=True)

    return y


@along
def softmax_gradient(xp):
    return lambda dout, y, axis: y * (dout - xp.sum(dout * y, axis=axis, keepdims=True))


class Softmax(Layer):
    def forward(self, x, train_flg=True):
        self._saved = softmax(x, axis=1)
        return self._saved

    def backward(self, dout):
        return softmax_gradient(dout, self._saved, axis=1)


layer = Softmax()
x, dout = np.random.default_rng(0).standard_normal((2, 128, 100), dtype=np.float32)
y, dx = layer.forward(x), layer.backward(dout)  # compiled, if Numba is installed
with dlskills.engine("plain"):  # one operation at a time
    expected = layer.forward(x), layer.backward(dout)

for name, found, plain in zip(("y", "dx"), (y, dx), expected, strict=True):
    print(f"{name}: engines differ by {np.max(np.abs(found - plain)):.1e}")
