"""The space of a file: carried, beside it, or made of its content."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bict.assessment.space_card import card_path, write_space_card
from bict.assessment.vector_file import SAMPLE, open_vector_file
from bict.embeddings import Embeddings, normalise
from bict.errors import SettingsError, SpaceError
from bict.spaces import Space
from bict.workflow.gallery import read_space

SPACE = Space(name="old", fingerprint="a" * 16, dim=3, metric="dot", normalised=False)


def unit(rows: int = 20, dim: int = 3) -> np.ndarray:
    return normalise(np.random.default_rng(rows).normal(size=(rows, dim)).astype(np.float32))


def save(path, vectors, ids=None, chunk: int = 7):
    ids = np.array([f"id-{row}" for row in range(len(vectors))]) if ids is None else ids
    if path.suffix == ".npz":
        np.savez(path, ids=ids, vectors=vectors)
    elif path.suffix == ".npy":
        np.save(path, vectors)
    else:
        pq.write_table(pa.table({"id": ids, "vector": vectors.tolist()}), path, row_group_size=chunk)
    return path


def refusal(kind: type[Exception], action) -> str:
    with pytest.raises(kind) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["x.parquet", "x.npz"])
def test_a_card_in_the_file_is_used(tmp_path, kind):
    Embeddings(np.arange(20), unit(), SPACE).save(tmp_path / kind)
    other = SPACE.model_copy(update={"fingerprint": "b" * 16})
    write_space_card(other, card_path(tmp_path / kind))  # the file's own comes first
    assert open_vector_file(tmp_path / kind).space == SPACE
    assert open_vector_file(tmp_path / kind, name="old", fingerprint="a" * 16).space == SPACE


@pytest.mark.parametrize("kind", ["x.parquet", "x.npz", "x.npy"])
def test_a_card_beside_the_file_is_used(tmp_path, kind):
    path = save(tmp_path / kind, unit())
    written = write_space_card(SPACE, card_path(path))
    assert written == tmp_path / f"{kind}.space.json"
    assert read_space(written) == SPACE
    assert open_vector_file(path).space == SPACE


@pytest.mark.parametrize("key", ["name", "fingerprint"])
def test_a_card_that_disagrees_with_what_was_given_is_refused(tmp_path, key):
    path = save(tmp_path / "x.npy", unit())
    write_space_card(SPACE, card_path(path))
    message = refusal(SpaceError, lambda: open_vector_file(path, **{key: "b" * 16}))
    found = f"its space card has the {key} {getattr(SPACE, key)!r}, and {'b' * 16!r} was given"
    assert message == f"{path}: {found}: leave the {key} out, or correct the card"


def test_a_card_of_another_dimension_is_refused(tmp_path):
    path = save(tmp_path / "x.npy", unit(dim=4))
    write_space_card(SPACE, card_path(path))
    message = refusal(SpaceError, lambda: open_vector_file(path))
    assert message == f"{path}: vectors have 4 numbers, its space card says 3: correct the card"


@pytest.mark.parametrize("text", ["", "[]", '{"name": "old"}', "\xff"])
def test_a_card_that_cannot_be_read_is_refused(tmp_path, text):
    path = save(tmp_path / "x.npy", unit())
    card_path(path).write_text(text, encoding="latin-1")
    message = refusal(SpaceError, lambda: open_vector_file(path))
    assert message.startswith(f"the space card in {card_path(path)} cannot be read (")


def test_without_a_card_one_is_made(tmp_path):
    made = open_vector_file(save(tmp_path / "clip-b32.parquet", unit())).space
    assert (made.name, made.dim, made.metric, made.normalised) == ("clip-b32", 3, "cosine", True)
    assert made.backward_compatible_with == ()
    given = open_vector_file(tmp_path / "clip-b32.parquet", name="CLIP", fingerprint="c" * 20, metric="l2").space
    assert (given.name, given.fingerprint, given.metric) == ("CLIP", "c" * 20, "l2")


def test_the_same_content_is_the_same_space_in_any_file(tmp_path):
    vectors = unit()
    files = [save(tmp_path / "a.parquet", vectors), save(tmp_path / "b.parquet", vectors, chunk=3)]
    files.append(save(tmp_path / "c.npz", vectors))
    files.append(save(tmp_path / "d.npz", vectors.astype(np.float64)))
    assert len({open_vector_file(path).space.fingerprint for path in files}) == 1


@pytest.mark.parametrize("change", ["a vector", "an id", "integer ids", "rows", "the order"])
def test_other_content_is_another_space(tmp_path, change):
    rows = 3 * SAMPLE + 1
    ids, vectors = np.array([str(row) for row in range(rows)]), unit(rows)
    first = open_vector_file(save(tmp_path / "x.npz", vectors, ids)).space
    taken = np.r_[1, 0, 2:rows] if change == "the order" else np.arange(rows - (change == "rows"))
    ids, vectors = ids[taken], vectors[taken]
    if change == "a vector":
        vectors[0, 0] += 1e-3
    elif change == "an id":
        ids[0] = "x"
    elif change == "integer ids":
        ids = ids.astype(int)
    assert open_vector_file(save(tmp_path / "x.npz", vectors, ids)).space.fingerprint != first.fingerprint


@pytest.mark.parametrize(
    ("scale", "normalised"), [(1, True), (1.009, True), (0.991, True), (1.02, False), (0.98, False)]
)
def test_the_made_space_is_normalised_where_all_rows_are(tmp_path, scale, normalised):
    vectors = unit()
    vectors[11] *= np.float32(scale)
    assert open_vector_file(save(tmp_path / "x.npy", vectors)).space.normalised is normalised


def test_rows_that_will_be_left_out_do_not_say_how_long_the_others_are(tmp_path):
    vectors = unit()
    vectors[3], vectors[5, 1], vectors[7, 0] = 0, np.nan, np.inf
    assert open_vector_file(save(tmp_path / "x.npy", vectors)).space.normalised


@pytest.mark.parametrize("given", [{"name": ""}, {"fingerprint": "mine"}, {"metric": "euclid"}])
def test_what_no_space_can_have_is_refused(tmp_path, given):
    path = save(tmp_path / "x.npy", unit())
    ((key, value),) = given.items()
    message = refusal(SettingsError, lambda: open_vector_file(path, **given))
    assert message.startswith(f"the {key} {value!r} of a space cannot be used: ")
