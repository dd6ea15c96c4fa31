"""Upgrade the embedding model of an image-retrieval system without touching a single gallery image.

The flow: `train(old)`, `embed` the gallery, `train(new, compatible_with=old)`, `fit` the forward transform, `upgrade`
the stored vectors, `search` and `evaluate` from the store, `report`. `demo` does all of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bict.embeddings import Embeddings
    from bict.errors import BictError
    from bict.experiments.demo import demo
    from bict.gallery import Gallery
    from bict.models import Model
    from bict.spaces import Space
    from bict.training import TrainSettings
    from bict.transforms import Transform
    from bict.workflow.assess import assess
    from bict.workflow.embed import embed
    from bict.workflow.evaluate import evaluate
    from bict.workflow.fit import fit
    from bict.workflow.report import report
    from bict.workflow.search import search
    from bict.workflow.train import train
    from bict.workflow.upgrade import upgrade

__version__ = "0.1.0"
__all__ = [
    "BictError",
    "Embeddings",
    "Gallery",
    "Model",
    "Space",
    "TrainSettings",
    "Transform",
    "assess",
    "demo",
    "embed",
    "evaluate",
    "fit",
    "report",
    "search",
    "train",
    "upgrade",
]

_HOMES = {
    "BictError": "bict.errors",
    "Embeddings": "bict.embeddings",
    "Gallery": "bict.gallery",
    "Model": "bict.models",
    "Space": "bict.spaces",
    "TrainSettings": "bict.training",
    "Transform": "bict.transforms",
    "demo": "bict.experiments.demo",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (loads a public name on first use, so that the import is cheap)
    if name not in __all__:
        raise AttributeError(f"module 'bict' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, f"bict.workflow.{name}")), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
