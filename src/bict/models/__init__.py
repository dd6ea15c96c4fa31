"""Image to vector: backbones, pooling and neck, the model on disk, embedding a data set."""

from bict.models.backbones import BACKBONES
from bict.models.embed import embed_images
from bict.models.encoder import Encoder
from bict.models.model import Model, ModelCard, make_model, read_card
from bict.models.pooling import POOLINGS
from bict.models.preprocessing import Preprocessing, default_preprocessing

__all__ = [
    "BACKBONES",
    "POOLINGS",
    "Encoder",
    "Model",
    "ModelCard",
    "Preprocessing",
    "default_preprocessing",
    "embed_images",
    "make_model",
    "read_card",
]
