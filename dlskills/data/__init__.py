"""Data: the MNIST digits and seeded mini-batches, as NumPy arrays on the host."""

from dlskills.data.batches import Batches
from dlskills.data.mnist import load_mnist
from dlskills.data.shuffle import shuffle_dataset

__all__ = ["Batches", "load_mnist", "shuffle_dataset"]
