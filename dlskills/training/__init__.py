"""Training: the loop, its callbacks, and the trainer of the tutorial."""

from dlskills.training.callbacks import Callback
from dlskills.training.checkpoint import Checkpoint
from dlskills.training.divergence import DivergedError
from dlskills.training.early_stopping import EarlyStopping, ReduceOnPlateau
from dlskills.training.history import History
from dlskills.training.loggers import CSVLogger, TensorBoardLogger
from dlskills.training.loop import Loop
from dlskills.training.memory import DeviceMemoryError
from dlskills.training.trainer import Trainer

__all__ = [
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "DeviceMemoryError",
    "DivergedError",
    "EarlyStopping",
    "History",
    "Loop",
    "ReduceOnPlateau",
    "TensorBoardLogger",
    "Trainer",
]
