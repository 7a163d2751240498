"""Training one network: an exported folder or a found architecture, finished from its inherited weights or from scratch."""

from knotwork_tasks.training._distillation import distillation_loss
from knotwork_tasks.training._flags import TrainFlags, parse_train_flags, train_parser
from knotwork_tasks.training._start import ArchitectureFile, ModelFolder, Start, read_start
from knotwork_tasks.training._task import Teacher, TrainingTask
from knotwork_tasks.training._train import train

__all__ = [
    "ArchitectureFile",
    "ModelFolder",
    "Start",
    "Teacher",
    "TrainFlags",
    "TrainingTask",
    "distillation_loss",
    "parse_train_flags",
    "read_start",
    "train",
    "train_parser",
]
