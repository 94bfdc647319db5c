"""Gradients that a layer declared and its backward pass did not write."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from dlskills.arrays.backend import to_host
from dlskills.arrays.parameters import Parameters
from dlskills.layers import Layer

# Whatever is still this after a backward pass was not written; it fits into half precision.
_MARK = -54336.0


class UnwrittenGradients:
    """Checks, in a network's first backward pass, that each layer of a user's writes its gradients.

    Parameters
    ----------
    layers : sequence of Layer
    names : sequence of mapping of str to str
        For each layer the names of its parameters in the network, by its own names.
    """

    def __init__(self, layers: Sequence[Layer], names: Sequence[Mapping[str, str]]) -> None:
        # ours do; and reading whether they did would wait for the device
        self._due = [
            (layer, of_layer)
            for layer, of_layer in zip(layers, names, strict=True)
            if of_layer and not type(layer).__module__.startswith("dlskills.")
        ]

    @contextlib.contextmanager
    def check(self, grads: Parameters) -> Iterator[None]:
        """Check the backward pass in this block, if it is the first.

        Raises
        ------
        RuntimeError
            A declared gradient was not written.
        """
        if not self._due:
            yield
            return
        xp = grads.backend.xp
        for _, names in self._due:
            for name in names.values():
                grads[name][...] = _MARK
        yield
        for layer, names in self._due:
            for own, name in names.items():
                if grads[name].size and to_host(xp.all(grads[name] == _MARK)):
                    grads[name] = xp.zeros_like(grads[name])
                    raise RuntimeError(
                        f"{layer!r} declares a parameter {own!r}, and its backward wrote no "
                        f"gradient for it; write it into self.grads[{own!r}], such as "
                        f"self.grads[{own!r}][...] = ..."
                    )
        self._due = []
