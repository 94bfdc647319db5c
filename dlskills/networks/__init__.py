"""Networks: sequences of layers, the tutorial's networks, and saving and loading them."""

from dlskills.networks.description import register
from dlskills.networks.multilayer import MultiLayerNet, MultiLayerNetExtend
from dlskills.networks.saving import load
from dlskills.networks.sequential import Sequential

for _network in (Sequential, MultiLayerNet, MultiLayerNetExtend):
    register(_network)

__all__ = ["MultiLayerNet", "MultiLayerNetExtend", "Sequential", "load", "register"]
