"""Networks: layers in a row, and the tutorial's fully connected ones."""

from dlskills.networks.description import register
from dlskills.networks.multilayer import MultiLayerNet, MultiLayerNetExtend
from dlskills.networks.saving import load
from dlskills.networks.sequential import Sequential

for _network in (Sequential, MultiLayerNet, MultiLayerNetExtend):
    register(_network)

__all__ = ["MultiLayerNet", "MultiLayerNetExtend", "Sequential", "load", "register"]
