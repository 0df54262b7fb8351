"""Training: the visible loop, sparse annotations, checkpoints."""

from .control import Control
from .progress import Progress
from .request import TrainingRequest, TrainingResult, check_output
from .schedule import check_settings
from .train import train

__all__ = ["Control", "Progress", "TrainingRequest", "TrainingResult", "check_output", "check_settings", "train"]
