"""Training: the visible loop, sparse annotations, checkpoints."""

from .control import Control
from .progress import Progress
from .request import TrainingRequest, TrainingResult
from .train import train

__all__ = ["Control", "Progress", "TrainingRequest", "TrainingResult", "train"]
