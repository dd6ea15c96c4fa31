import lancedb
import numpy as np
import pyarrow as pa
import pytest

from bict.embeddings import Embeddings, vectors_to_arrow
from bict.errors import GalleryError, SpaceError, UnknownName, VectorError
from bict.gallery import Gallery, upgrade
from bict.gallery.adopting import adopt


@pytest.fixture
def foreign(tmp_path, embeddings):
    """Writes a LanceDB table that bict did not make, and gives its address."""

    def write(change=lambda table: table):
        rows = embeddings(25)
        table = pa.table(
            {"photo": rows.ids, "title": [f"title {row}" for row in range(25)], "emb": vectors_to_arrow(rows.vectors)}
        )
        lancedb.connect(tmp_path / "shop").create_table("photos", change(table), mode="overwrite")
        return f"{tmp_path}/shop?table=photos"

    return write


def taken(address, space, **options):
    return adopt(address, **{"id_column": "photo", "vector_column": "emb", "space": space, **options})


def test_a_foreign_table_becomes_a_gallery_without_being_rewritten(foreign, tmp_path, embeddings, linear):
    address = foreign()
    data = tmp_path / "shop/photos.lance/data"
    before = {path.name: path.read_bytes() for path in data.iterdir()}
    gallery = taken(address, linear().source)
    assert {path.name: path.read_bytes() for path in data.iterdir()} == before
    assert (gallery.active_column, gallery.payload_columns) == ("emb", ["title"])
    query = embeddings().take(np.array([3]))
    assert gallery.search(query, k=1, include=["title"]).payload["title"].item() == "title 3"
    upgrade(Gallery.open(address), linear())
    assert Gallery.open(address).active_column == "v2"
    assert {path.name: path.read_bytes() for path in data.iterdir() if path.name in before} == before
    table = lancedb.connect(tmp_path / "shop").open_table("photos")
    assert set(table.schema.names) == {"photo", "title", "emb", "v2"}


def test_adopting_refuses_what_cannot_be_a_gallery(foreign, linear):
    space = linear().source
    nulls = pa.array([None] + [[1.0, 0, 0, 0]] * 24, pa.list_(pa.float32(), 4))
    twice = pa.array(["same"] * 2 + [str(row) for row in range(23)])
    for change, options, error, message in [
        (lambda t: t, {"vector_column": "embs"}, UnknownName, "did you mean 'emb'"),
        (lambda t: t, {"id_column": "title2"}, UnknownName, "did you mean 'title'"),
        (lambda t: t, {"vector_column": "title"}, VectorError, "of type string, expected vectors"),
        (lambda t: t, {"space": space.model_copy(update={"dim": 5})}, SpaceError, "has 4 dimensions"),
        (lambda t: t.set_column(2, "emb", nulls), {}, VectorError, "1 of 25 rows .* have no vector"),
        (lambda t: t.set_column(0, "photo", twice), {}, VectorError, "more than once.*'same'"),
        (lambda t: t.set_column(0, "photo", pa.array([None] * 25, pa.string())), {}, VectorError, "holds nulls"),
        (
            lambda t: t.set_column(2, "emb", pa.array([[9.0] * 4] * 25, pa.list_(pa.float32(), 4))),
            {},
            VectorError,
            "not of unit length",
        ),
    ]:
        with pytest.raises(error, match=message) as caught:
            taken(foreign(change), **{"space": space, **options})
        assert "\n" not in str(caught.value)


def test_a_gallery_and_an_empty_place_are_not_adopted(gallery, linear, tmp_path):
    with pytest.raises(GalleryError, match="is a gallery already"):
        adopt(gallery.address, id_column="id", vector_column="v1", space=linear().source)
    with pytest.raises(GalleryError, match="is not a gallery"):
        adopt(str(tmp_path / "nowhere"), id_column="id", vector_column="v1", space=linear().source)


def test_columns_of_the_application_are_never_taken_for_ones_of_bict(foreign, tmp_path, embeddings, linear):
    address = foreign(lambda table: table.append_column("v2", pa.array(range(25))))
    gallery = taken(address, linear().source)
    assert gallery.payload_columns == ["title", "v2"]
    assert upgrade(gallery, linear()).column == "v3"
    again = lancedb.connect(tmp_path / "shop").open_table("photos").to_arrow()
    assert again["v2"].to_pylist() == list(range(25))


def test_a_vector_column_that_is_called_like_a_later_generation_is_upgraded(foreign, linear):
    address = foreign(lambda table: table.rename_columns(["photo", "title", "v2"]))
    gallery = taken(address, linear().source, vector_column="v2")
    assert upgrade(gallery, linear()).column == "v3"
    assert gallery.metadata.columns["v3"].sources == ("v2",)


def test_rows_of_the_new_space_fit_into_a_table_that_took_no_nulls(tmp_path, embeddings, linear):
    rows = embeddings(25)
    fields = [pa.field("photo", pa.large_string()), pa.field("emb", pa.list_(pa.float32(), 4), nullable=False)]
    table = pa.table([pa.array(rows.ids, pa.large_string()), vectors_to_arrow(rows.vectors)], pa.schema(fields))
    lancedb.connect(tmp_path / "shop").create_table("photos", table)
    gallery = taken(f"{tmp_path}/shop?table=photos", linear().source)
    upgrade(gallery, linear())
    new = embeddings(3, linear().target, start=25)
    gallery.add(Embeddings(new.ids, new.vectors, new.space))
    assert len(gallery.vectors(with_labels=False)) == 28
