"""Training: the built-in tasks."""

from collections.abc import Mapping

from podium.training.task import Task
from podium.training.tasks.classification import Classification
from podium.training.tasks.forecasting import Forecasting
from podium.training.tasks.image_to_image import ImageToImage
from podium.training.tasks.multi_label import MultiLabel
from podium.training.tasks.multi_output import MultiOutput
from podium.training.tasks.reconstruction import Reconstruction
from podium.training.tasks.regression import Regression
from podium.training.tasks.segmentation import Segmentation
from podium.training.tasks.sequence_generation import SequenceGeneration

__all__ = [
    "TASKS",
    "Classification",
    "Forecasting",
    "ImageToImage",
    "MultiLabel",
    "MultiOutput",
    "Reconstruction",
    "Regression",
    "Segmentation",
    "SequenceGeneration",
]

TASKS: Mapping[str, type[Task]] = {
    "classification": Classification,
    "regression": Regression,
    "segmentation": Segmentation,
    "image_to_image": ImageToImage,
    "multi_label": MultiLabel,
    "multi_output": MultiOutput,
    "forecasting": Forecasting,
    "sequence_generation": SequenceGeneration,
    "reconstruction": Reconstruction,
}
"""The built-in tasks by the name a sweep file uses."""
