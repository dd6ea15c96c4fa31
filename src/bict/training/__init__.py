"""One loop, and the backward stage: train a model, alone or backward compatible with an old one."""

from bict.training.settings import TrainSettings, train_settings
from bict.training.train import train_model

__all__ = ["TrainSettings", "train_model", "train_settings"]
