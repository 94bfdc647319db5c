"""Training loops, and what they show while they run."""

from dlskills.training.memory import DeviceMemoryError
from dlskills.training.trainer import DivergedError, Trainer

__all__ = ["DeviceMemoryError", "DivergedError", "Trainer"]
