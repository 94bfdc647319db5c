"""Networks: layers in a row, and the tutorial's fully connected ones."""

from dlskills.networks.multilayer import MultiLayerNet, MultiLayerNetExtend
from dlskills.networks.sequential import Sequential

__all__ = ["MultiLayerNet", "MultiLayerNetExtend", "Sequential"]
