"""Training loops, and what they show while they run."""

from dlskills.training.divergence import DivergedError
from dlskills.training.memory import DeviceMemoryError
from dlskills.training.trainer import Trainer

__all__ = ["DeviceMemoryError", "DivergedError", "Trainer"]
