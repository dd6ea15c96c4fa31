"""What is embedded: built-in and own images, and the splits that decide who may see which."""

from bict.data.catalog import DATASETS, DataAddress, load_images, load_part
from bict.data.images import ImageSet
from bict.data.splits import PARTS, SplitPlan, Splits, draw_splits

__all__ = [
    "DATASETS",
    "PARTS",
    "DataAddress",
    "ImageSet",
    "SplitPlan",
    "Splits",
    "draw_splits",
    "load_images",
    "load_part",
]
