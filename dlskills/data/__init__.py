"""Data: the MNIST digits and seeded mini-batches, as NumPy arrays on the host."""

from dlskills.data.batches import Batches
from dlskills.data.mnist import load_mnist

__all__ = ["Batches", "load_mnist"]
