"""The engine ``cuda``."""

from dlskills.formulas.engines.engine import Engine


class Cuda(Engine):
    """."""

    name = "cuda"
    library = "cupy"


ENGINE = Cuda()
