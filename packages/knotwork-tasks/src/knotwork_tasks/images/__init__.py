"""Images in, normalised tensors with class numbers out, and the task of searching a classifier on them.

Needs `knotwork-tasks[images]`.

splits = load_images("digits")
preprocessing = preprocessing_for(splits)
items = ImageItems(splits.train, training_transform(preprocessing, "basic"), len(splits.labels))
weight_part, architecture_part = split_items(items, 0.5)
validation = ImageItems(splits.validation, evaluation_transform(preprocessing), len(splits.labels))
"""

from knotwork_tasks._task import TaskKind
from knotwork_tasks.images._flags import ImageFlags, parse_image_flags
from knotwork_tasks.images._images import LabelledImages
from knotwork_tasks.images._items import ImageItems, split_items
from knotwork_tasks.images._packaging import CellPackaging, ImagePackaging, load_packaging
from knotwork_tasks.images._sources import load_images
from knotwork_tasks.images._splits import ImageSplits
from knotwork_tasks.images._task import ImageTask, image_task
from knotwork_tasks.images._train_flags import ImageTrainFlags, parse_image_train_flags
from knotwork_tasks.images._train_task import ImageTraining, image_training
from knotwork_tasks.images._transforms import (
    AUGMENTATIONS,
    evaluation_transform,
    preprocessing_for,
    training_transform,
)

TASK = TaskKind(ImageFlags, image_task, load_packaging, parse_image_flags)

__all__ = [
    "AUGMENTATIONS",
    "TASK",
    "CellPackaging",
    "ImageFlags",
    "ImageItems",
    "ImagePackaging",
    "ImageSplits",
    "ImageTask",
    "ImageTrainFlags",
    "ImageTraining",
    "LabelledImages",
    "evaluation_transform",
    "image_task",
    "image_training",
    "load_images",
    "load_packaging",
    "parse_image_flags",
    "parse_image_train_flags",
    "preprocessing_for",
    "split_items",
    "training_transform",
]
