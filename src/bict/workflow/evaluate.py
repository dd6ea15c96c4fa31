"""`bict evaluate`: how well queries find the stored vectors."""

from __future__ import annotations

from pathlib import Path

from bict.data import DataAddress, load_part
from bict.embeddings import Embeddings
from bict.errors import SettingsError
from bict.evaluation import PairResult, evaluate_pair
from bict.gallery import Gallery
from bict.models import Model, embed_images
from bict.progress import Progress, silent

FILES = {".parquet", ".npz"}


def evaluate(
    gallery: str,
    *,
    data: str,
    model: Path | None = None,
    column: str | None = None,
    exclude_self: bool = True,
    data_root: Path | None = None,
    strict: bool = False,
    progress: Progress = silent,
) -> PairResult:
    """Score queries against vectors read back from the store: mAP over all ranks, mAP@100, recall@1 and recall@10.

    Args:
        gallery: address of the gallery, or a file of embeddings; both need labels.
        data: query images as NAME:PART[,key=value] (default part: query), or a .parquet or .npz of embedded queries.
        model: directory of the model that embeds the query images.
        column: vector column of the gallery, such as v1 (default: the live one).
        exclude_self: leave the gallery row with a query's own id out of its ranking; turn it off where two folders give
            different images the same relative path.
        data_root: folder in which the data lies.
        strict: stop at the first unreadable image instead of leaving it out.
        progress: called with images done and images in all.

    Raises:
        BictError: gallery, model or data cannot be used, or the spaces are not comparable.
    """
    if Path(gallery).suffix in FILES and column is not None:
        raise SettingsError(f"{gallery} is a file and has no columns: leave out --column")
    stored = Embeddings.load(gallery) if Path(gallery).suffix in FILES else Gallery.open(gallery).vectors(column)
    if model is None and Path(data).suffix not in FILES:
        raise SettingsError("query images need the model that embeds them: add --model")
    if model is None:
        queries = Embeddings.load(data)
    else:
        images = load_part(DataAddress.parse(data, default_part="query"), root=data_root, strict=strict)
        queries = embed_images(Model.load(model), images, progress=progress)
    return evaluate_pair(
        queries,
        stored,
        name="evaluate",
        query_name=queries.space.name,
        gallery_name=stored.space.name,
        exclude_self=exclude_self,
    )
