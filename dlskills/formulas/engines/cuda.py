"""The engine ``cuda``."""

from dlskills.formulas.engines.base import Engine


class Cuda(Engine):
    """."""

    name = "cuda"
    library = "cupy"


ENGINE = Cuda()
