"""Training: the loop, its callbacks, and the trainer of the tutorial."""

from dlskills.training.callbacks import Callback
from dlskills.training.divergence import DivergedError
from dlskills.training.history import History
from dlskills.training.loop import Loop
from dlskills.training.memory import DeviceMemoryError
from dlskills.training.trainer import Trainer

__all__ = ["Callback", "DeviceMemoryError", "DivergedError", "History", "Loop", "Trainer"]
