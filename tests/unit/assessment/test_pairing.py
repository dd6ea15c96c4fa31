"""The join of two files by id against a slow one, and every sign that something is wrong with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bict.assessment.pairing import PairedVectors, pair_files
from bict.assessment.space_card import card_path, write_space_card
from bict.assessment.vector_file import VectorFile, in_memory, open_vector_file
from bict.embeddings import Embeddings, normalise
from bict.errors import SettingsError, SpaceError, VectorError
from bict.spaces import Space

ROWS, OLD_DIM, NEW_DIM = 12, 3, 4


def unit(rows: int, dim: int) -> np.ndarray:
    return normalise(np.random.default_rng(rows * dim).normal(size=(rows, dim)).astype(np.float32))


def save(path, ids, vectors, **arrays) -> VectorFile:
    np.savez(path, ids=ids, vectors=vectors, **arrays)
    return open_vector_file(path)


def names(rows: int = ROWS) -> np.ndarray:
    return np.array([f"p{row:02d}" for row in range(rows)])


def make(tmp_path, rows: int = ROWS, old_name: str = "a.npz", new_name: str = "b.npz", **arrays):
    """Two files of the same ids; arrays may be `old_labels=`, `new_ids=` and the like."""
    sides = []
    for side, name, dim in (("old", old_name, OLD_DIM), ("new", new_name, NEW_DIM)):
        own = {key.removeprefix(f"{side}_"): value for key, value in arrays.items() if key.startswith(side)}
        sides.append(save(tmp_path / name, **{"ids": names(rows), "vectors": unit(rows, dim), **own}))
    return sides


def pair(files, max_pairs: int = 1000, seed: int = 0) -> PairedVectors:
    return pair_files(*files, max_pairs=max_pairs, seed=seed)


def refusal(kind: type[Exception], action) -> str:
    with pytest.raises(kind) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- the join -------------------------------------------------------------------------------------------------------

SIDE = st.tuples(st.lists(st.integers(0, 40), min_size=1, max_size=20, unique=True), st.booleans(), st.booleans())


def by_dictionary(old_ids, new_ids) -> list[tuple[object, int, int]]:
    at = {name: row for row, name in enumerate(new_ids)}
    return sorted((name, row, at[name]) for row, name in enumerate(old_ids) if name in at)


@settings(max_examples=150, deadline=None)
@given(old=SIDE, new=SIDE, text=st.booleans(), types=st.sampled_from([("i4", "i8"), ("u8", "i8"), ("u2", "u8")]))
def test_is_the_join_of_two_dictionaries(tmp_path_factory, old, new, text, types):
    folder = tmp_path_factory.mktemp("pair")
    files, ids = [], []
    for (numbers, labelled, split), dim, kind in zip((old, new), (OLD_DIM, NEW_DIM), types, strict=True):
        own = np.array([f"{number}-é" for number in numbers]) if text else np.array(numbers, kind)
        arrays = {"labels": np.array(numbers) % 3} if labelled else {}
        arrays |= {"split": np.array(numbers) % 2} if split else {}
        vectors = np.outer(np.array(numbers) + 1, np.arange(1, dim + 1)).astype(np.float32)
        files.append(save(folder / f"{dim}.npz", own, vectors, **arrays))
        ids.append(own.tolist())
    expected = by_dictionary(*ids)
    if not expected:
        assert "share no ids" in refusal(VectorError, lambda: pair(files))
        return
    found = pair(files)
    by_id = sorted(zip(found.ids.tolist(), found.old.tolist(), found.new.tolist(), strict=True))
    assert [row[0] for row in by_id] == [row[0] for row in expected]
    for (name, old_vector, new_vector), number in zip(by_id, (row[0] for row in expected), strict=True):
        value = int(str(number).removesuffix("-é")) + 1
        assert (old_vector, new_vector) == ([value, 2 * value, 3 * value], [value, 2 * value, 3 * value, 4 * value])
        row = found.ids.tolist().index(name)
        for values, known, base in ((found.labels, old[1] or new[1], 3), (found.split, old[2] or new[2], 2)):
            assert (values is not None) == known
            assert values is None or values[row] == str((value - 1) % base)
    paired = len(expected)
    assert found.counts == {
        "rows_old": len(ids[0]),
        "rows_new": len(ids[1]),
        "paired": paired,
        "only_old": len(ids[0]) - paired,
        "only_new": len(ids[1]) - paired,
        "left_out_not_finite": 0,
        "left_out_zero": 0,
        "left_out_not_unit": 0,
        "pairs": paired,
    }


def test_the_order_of_rows_does_not_count(tmp_path):
    def shuffled(folder: str, seed: int) -> PairedVectors:
        (tmp_path / folder).mkdir()
        rng, files = np.random.default_rng(seed), []
        for name, dim in (("a.npz", OLD_DIM), ("b.npz", NEW_DIM)):
            order = rng.permutation(50)
            files.append(save(tmp_path / folder / name, names(50)[order], unit(50, dim)[order]))
        return pair(files, max_pairs=20, seed=3)

    first, second = shuffled("x", 1), shuffled("y", 2)
    assert first.ids.tolist() == second.ids.tolist()
    np.testing.assert_array_equal(first.old, second.old)
    np.testing.assert_array_equal(first.new, second.new)


def test_large_unsigned_ids_stay_apart(tmp_path):
    """Hashes of 64 bits differ in digits that a float has no room for."""
    ids = np.array([2**63 - 1, 2**63 + 1, 2**63 + 2, 5], np.uint64)
    signed = np.array([2**63 - 1, -(2**63), 5, 6], np.int64)
    found = pair(make(tmp_path, 4, old_ids=ids, new_ids=signed))
    assert sorted(found.ids.tolist()) == [5, 2**63 - 1]


@pytest.mark.parametrize("numbers_in", ["old", "new"])
def test_numbers_and_text_are_not_joined(tmp_path, numbers_in):
    files = make(
        tmp_path,
        **{f"{numbers_in}_ids": np.arange(7, 19)},
        **{f"{'new' if numbers_in == 'old' else 'old'}_ids": np.arange(7, 19).astype(str)},
    )
    kinds = ("integers such as 7", "text such as '7'")
    one, other = kinds if numbers_in == "old" else kinds[::-1]
    message = refusal(VectorError, lambda: pair(files))
    found = f"ids of {files[0].path} are {one} and ids of {files[1].path} are {other}"
    assert message == f"{found}: write both as text or both as integers"


def test_files_without_a_shared_id_are_refused_with_the_first_of_each(tmp_path):
    files = make(tmp_path, 4, new_ids=np.array(["q0", "q1", "q2", "q3"]))
    message = refusal(VectorError, lambda: pair(files))
    found = f"{files[0].path} has p00, p01, p02, ..., {files[1].path} has q0, q1, q2, ..."
    assert message == f"the files share no ids: {found}: name the id columns that they have in common"


def test_ids_without_a_partner_are_told(tmp_path):
    ids = names()
    ids[[1, 4]] = "x", "y"
    ids = ids[:-3]
    found = pair(make(tmp_path, new_ids=ids, new_vectors=unit(9, NEW_DIM)))
    assert found.warnings == [
        "5 of 12 old ids are not in the other file and are left out: p01, p04, p09, ...",
        "2 of 9 new ids are not in the other file and are left out: x, y",
    ]
    assert (found.counts["only_old"], found.counts["only_new"], found.counts["paired"]) == (5, 2, 7)


def test_of_too_many_pairs_a_uniform_sample_is_used(tmp_path):
    files = make(tmp_path, 50)
    found = pair(files, max_pairs=10, seed=7)
    assert found.warnings == ["10 of 50 pairs are used, drawn at random with seed 7"]
    assert (found.counts["paired"], found.counts["pairs"], len(set(found.ids))) == (50, 10, 10)
    rows = [names(50).tolist().index(name) for name in found.ids]
    np.testing.assert_array_equal(found.old, unit(50, OLD_DIM)[rows])
    np.testing.assert_array_equal(found.new, unit(50, NEW_DIM)[rows])
    assert pair(files, max_pairs=10, seed=7).ids.tolist() == found.ids.tolist()
    drawn = np.array([np.isin(names(50), pair(files, max_pairs=10, seed=seed).ids) for seed in range(200)])
    assert np.abs(drawn.mean(axis=0) - 0.2).max() < 0.12  # 4 standard errors
    assert pair(files, max_pairs=50).warnings == []
    assert "at least 1, found 0" in refusal(SettingsError, lambda: pair(files, max_pairs=0))


def test_embeddings_in_memory_are_paired():
    spaces = [Space(name=name, fingerprint=name * 16, dim=dim) for name, dim in (("a", OLD_DIM), ("b", NEW_DIM))]
    files = [in_memory(Embeddings(names(), unit(ROWS, space.dim), space), space.name) for space in spaces]
    found = pair(files)
    assert (found.old_space, found.new_space, found.warnings) == (*spaces, [])
    np.testing.assert_array_equal(found.new, unit(ROWS, NEW_DIM))


# --- labels and parts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("array", "what"), [("labels", "label"), ("split", "part")])
def test_an_item_of_two_labels_or_parts_is_refused(tmp_path, array, what):
    one, other = np.repeat(["cat", "dog"], 6), np.repeat(["cat", "dog"], [4, 8])
    files = make(tmp_path, **{f"old_{array}": one, f"new_{array}": other})
    message = refusal(VectorError, lambda: pair(files))
    found = f"2 of 12 shared ids have another {what} in {files[0].path} than in {files[1].path}"
    assert message == f"{found}, the first is p04: 'cat' and 'dog': give an item one {what}"


def test_labels_of_ids_without_a_partner_may_differ(tmp_path):
    labels = np.repeat(["cat", "dog"], 6)
    ids = np.r_[names()[:11], np.array(["x"])]
    found = pair(make(tmp_path, old_labels=labels, new_labels=np.r_[labels[:11], np.array(["cow"])], new_ids=ids))
    assert found.labels.tolist() == labels[:11].tolist()


def test_one_label_is_told(tmp_path):
    found = pair(make(tmp_path, new_labels=np.full(ROWS, "cat")))
    assert found.labels.tolist() == ["cat"] * ROWS
    assert found.warnings == ["all pairs have the label 'cat': one class cannot tell right from wrong"]


# --- vectors --------------------------------------------------------------------------------------------------------


def test_vectors_that_cannot_be_used_are_left_out_and_told(tmp_path):
    old, new = unit(ROWS, OLD_DIM), unit(ROWS, NEW_DIM)
    old[1], new[2], old[3] = 0, 0, 0
    new[3, 1] = np.nan  # zero on one side and not finite on the other: counted once
    old[5, 0] = np.inf
    found = pair(make(tmp_path, old_vectors=old, new_vectors=new, old_labels=names()))
    assert found.ids.tolist() == found.labels.tolist() == names()[[0, 4, 6, 7, 8, 9, 10, 11]].tolist()
    np.testing.assert_array_equal(found.old, old[[0, 4, 6, 7, 8, 9, 10, 11]])
    np.testing.assert_array_equal(found.new, new[[0, 4, 6, 7, 8, 9, 10, 11]])
    assert found.warnings == [
        "2 of 12 pairs have a vector that is null, NaN or infinite (1 old, 1 new) and are left out: p03, p05",
        "2 of 12 pairs have a vector that is all zero (1 old, 1 new) and are left out: p01, p02",
    ]
    counts = found.counts
    assert (counts["left_out_not_finite"], counts["left_out_zero"], counts["pairs"]) == (2, 2, 8)


def test_a_vector_of_another_length_than_its_space_says_is_left_out(tmp_path):
    vectors = unit(2500, NEW_DIM)
    vectors[200] *= 3  # the space card is made of runs, the first of them 125 rows long
    found = pair(make(tmp_path, 2500, new_vectors=vectors), max_pairs=2500)
    assert found.new_space.normalised
    assert found.counts["left_out_not_unit"] == 1
    assert "of unit length although its space is normalised (0 old, 1 new)" in found.warnings[0]
    assert "p200" not in found.ids


@pytest.mark.parametrize(("bad", "refused"), [(6, False), (7, True), (12, True)])
def test_more_than_half_unusable_is_refused(tmp_path, bad, refused):
    vectors = unit(ROWS, OLD_DIM)
    vectors[:bad] = 0
    files = make(tmp_path, old_vectors=vectors)
    if not refused:
        assert pair(files).counts["pairs"] == ROWS - bad
        return
    message = refusal(VectorError, lambda: pair(files))
    found = f"{bad} of 12 pairs have a vector that is all zero ({bad} old, 0 new): p00, p01, p02, ..."
    cure = "embed these items again, or correct the space card"
    assert message == f"more than half of the pairs cannot be used: {found}: {cure}"


def test_few_pairs_are_told(tmp_path):
    assert pair(make(tmp_path, NEW_DIM)).warnings == []
    found = pair(make(tmp_path, NEW_DIM - 1))
    assert found.warnings == ["3 pairs are fewer than the 4 numbers of a vector: a fit on them is loose"]


# --- two models -----------------------------------------------------------------------------------------------------


def test_the_same_file_twice_is_refused(tmp_path):
    file, _ = make(tmp_path)
    (tmp_path / "link.npz").symlink_to(file.path)
    for other in (file, open_vector_file(tmp_path / "link.npz")):
        message = refusal(SpaceError, lambda other=other: pair((file, other)))
        assert message == f"{file.path} was given as old and as new: give the vectors of two models"


def test_identical_vectors_are_refused(tmp_path):
    vectors = unit(ROWS, OLD_DIM)
    order = np.arange(ROWS)[::-1]
    files = save(tmp_path / "a.npz", names(), vectors), save(tmp_path / "b.npz", names()[order], vectors[order])
    message = refusal(VectorError, lambda: pair(files))
    assert message == (f"vectors of {files[0].path} and {files[1].path} are identical: there is nothing to upgrade")


def test_files_of_one_space_are_refused(tmp_path):
    files = make(tmp_path)
    copy = save(tmp_path / "copy.npz", names(), unit(ROWS, OLD_DIM))
    message = refusal(SpaceError, lambda: pair((files[0], copy)))
    found = f"{files[0].path} and {copy.path} have one fingerprint, {copy.space.fingerprint[:8]}"
    assert message == f"{found}: of one model there is nothing to upgrade; of two, give each its own fingerprint"


def test_an_old_model_that_was_trained_to_match_the_new_one_is_refused(tmp_path):
    files = make(tmp_path)
    newer = Space(name="v2", fingerprint="b" * 16, dim=OLD_DIM, backward_compatible_with=(files[1].space.fingerprint,))
    write_space_card(newer, card_path(files[0].path))
    message = refusal(SpaceError, lambda: pair((open_vector_file(files[0].path), files[1])))
    found = f"the model of {files[0].path} was trained to be compatible with that of {files[1].path}"
    assert message == f"the files look swapped: {found}: give {files[1].path} as the old one"
    assert pair((files[1], open_vector_file(files[0].path))).counts["pairs"] == ROWS  # the right way round


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("new.npz", "old.npz", True),
        ("shop_NEW.npz", "Old-shop.npz", True),
        ("old.npz", "new.npz", False),
        ("golden_news_v1.npz", "golden_news_v2.npz", False),
        ("new_v1.npz", "new_v2.npz", False),
    ],
)
def test_names_that_look_swapped_are_told(tmp_path, old, new, told):
    warning = f"the files look swapped by their names: {old} was given as old, {new} as new"
    assert pair(make(tmp_path, old_name=old, new_name=new)).warnings == ([warning] if told else [])
