"""What is embedded: built-in and own images, benchmarks, and the splits that decide who may see which."""

from bict.data.catalog import DATASETS, DataAddress, load_images, load_part
from bict.data.faces import FacePairs, load_face_pairs
from bict.data.gldv2 import LandmarkRetrieval, load_gldv2_retrieval
from bict.data.images import ImageSet
from bict.data.revisited import RevisitedBenchmark, load_revisited
from bict.data.splits import PARTS, SplitPlan, Splits, draw_splits

__all__ = [
    "DATASETS",
    "PARTS",
    "DataAddress",
    "FacePairs",
    "ImageSet",
    "LandmarkRetrieval",
    "RevisitedBenchmark",
    "SplitPlan",
    "Splits",
    "draw_splits",
    "load_face_pairs",
    "load_gldv2_retrieval",
    "load_images",
    "load_part",
    "load_revisited",
]
