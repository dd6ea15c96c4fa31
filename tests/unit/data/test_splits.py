from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bict.data.images import ArrayPixels, ImageSet
from bict.data.omniglot import load_omniglot
from bict.data.splits import PARTS, SplitPlan, draw_splits, draw_training
from bict.errors import DataError, UnknownName

SCENARIOS = ["extended-class", "extended-data"]
DRAWINGS = ["own", "published"]


def classes_of(images, rows) -> set[str]:
    return set(images.labels[rows].tolist())


def check_promises(images, splits, scenario="extended-class") -> None:
    """What holds for every split, however it was drawn."""
    for trained in (splits.train, splits.old_train):
        assert not classes_of(images, trained) & classes_of(images, splits.rows("evaluation"))
    assert not set(splits.query.tolist()) & set(splits.gallery.tolist())
    if scenario == "open-class":
        assert not classes_of(images, splits.train) & classes_of(images, splits.old_train)
        assert len(classes_of(images, splits.old_train)) >= 2
    else:
        assert set(splits.old_train.tolist()) <= set(splits.train.tolist())
    assert splits.rows("all").tolist() == list(range(len(images)))
    assert len(classes_of(images, splits.train)) >= 2
    assert len(splits.old_train) > 0
    assert classes_of(images, splits.query) & classes_of(images, splits.gallery)
    for part in PARTS:
        rows = splits.rows(part)
        assert rows.tolist() == sorted(set(rows.tolist()))
        assert rows.dtype.kind == "i"


@st.composite
def image_sets(draw) -> ImageSet:
    """Whole classes with an official part, or none, or a mixture of open and official images."""
    labels, parts = [], []
    for number in range(draw(st.integers(2, 8))):
        side = draw(st.sampled_from([["train", ""], ["query", "gallery", "evaluation", ""], [""]]))
        for _ in range(draw(st.integers(1, 6))):
            labels.append(f"class-{number}")
            parts.append(draw(st.sampled_from(side)))
    order = draw(st.permutations(range(len(labels))))
    labels, parts = np.array(labels)[order], np.array(parts)[order]
    ids = np.array([f"image-{row}" for row in range(len(labels))])
    return ImageSet("made", "characters", ids, labels, parts, ArrayPixels(np.zeros((len(ids), 2, 2), np.uint8)))


plans = st.builds(
    SplitPlan,
    scenario=st.sampled_from([*SCENARIOS, "open-class"]),
    drawing=st.sampled_from(DRAWINGS),
    old_share=st.floats(0.05, 1),
    evaluation_share=st.floats(0.05, 0.95),
    queries_per_class=st.integers(1, 4),
    seed=st.integers(0, 99),
)


@settings(deadline=None)
@given(image_sets(), plans)
def test_every_split_keeps_its_promises_or_is_refused(images, plan):
    try:
        splits = draw_splits(images, plan)
    except DataError:
        return
    check_promises(images, splits, plan.scenario)
    trained = np.union1d(splits.train, splits.old_train)
    for part, rows in (("query", splits.query), ("gallery", splits.gallery), ("train", trained)):
        assert set(np.flatnonzero(images.parts == part).tolist()) <= set(rows.tolist())
    assert set(np.flatnonzero(images.parts == "evaluation").tolist()) <= set(splits.rows("evaluation").tolist())


@settings(deadline=None)
@given(image_sets(), plans)
def test_the_same_plan_draws_the_same_split(images, plan):
    try:
        first = draw_splits(images, plan)
    except DataError:
        return
    again = draw_splits(images, plan)
    for part in PARTS:
        np.testing.assert_array_equal(first.rows(part), again.rows(part))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_shares_of_open_data(image_set, scenario):
    images = image_set(np.repeat([f"c{number:02d}" for number in range(20)], 10))
    splits = draw_splits(images, SplitPlan(scenario=scenario, old_share=0.5, evaluation_share=0.4, queries_per_class=3))
    check_promises(images, splits)
    assert len(classes_of(images, splits.train)) == 12
    assert len(splits.train) == 120
    assert (len(splits.query), len(splits.gallery)) == (8 * 3, 8 * 7)
    assert len(splits.old_train) == 60
    seen, counts = np.unique(images.labels[splits.old_train], return_counts=True)
    assert (len(seen), set(counts)) == ((6, {10}) if scenario == "extended-class" else (12, {5}))


def test_an_old_share_of_one_is_all_of_training(image_set):
    images = image_set(np.repeat(list("abcde"), 4))
    for scenario in SCENARIOS:
        splits = draw_splits(images, SplitPlan(scenario=scenario, old_share=1))
        np.testing.assert_array_equal(splits.old_train, splits.train)


def test_the_smallest_old_share_still_trains_something(image_set):
    images = image_set(np.repeat(list("abcdefgh"), 3))
    by_class = draw_splits(images, SplitPlan(old_share=0.01))
    assert len(classes_of(images, by_class.old_train)) == 2
    by_image = draw_splits(images, SplitPlan(old_share=0.01, scenario="extended-data"))
    assert len(by_image.old_train) == len(classes_of(images, by_image.train))


def test_the_default_draws_what_it_always_drew(image_set):
    """Splits are named by their plan in the records of runs: another draw under the same plan would falsify them."""
    images = image_set(np.repeat([f"c{number:02d}" for number in range(10)], 3))
    splits = draw_splits(images, SplitPlan())
    assert sorted(classes_of(images, splits.train)) == ["c00", "c01", "c03", "c05", "c08", "c09"]
    assert sorted(classes_of(images, splits.old_train)) == ["c08", "c09"]
    assert splits.query.tolist() == [6, 8, 12, 14, 19, 20, 22, 23]
    by_image = draw_splits(images, SplitPlan(scenario="extended-data", seed=3))
    assert by_image.old_train.tolist() == [5, 10, 14, 16, 23, 25]


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_in_open_class_the_models_share_no_class(image_set, drawing):
    images = image_set(np.repeat([f"c{number:02d}" for number in range(20)], 10))
    plan = SplitPlan(scenario="open-class", drawing=drawing, old_share=0.25)
    splits = draw_splits(images, plan)
    check_promises(images, splits, "open-class")
    assert (len(classes_of(images, splits.old_train)), len(classes_of(images, splits.train))) == (3, 9)
    extended = draw_splits(images, plan.model_copy(update={"scenario": "extended-class"}))
    np.testing.assert_array_equal(splits.old_train, extended.old_train)
    np.testing.assert_array_equal(np.union1d(splits.train, splits.old_train), extended.train)
    np.testing.assert_array_equal(splits.query, extended.query)


def test_open_class_leaves_classes_for_the_new_model(image_set):
    images = image_set(np.repeat(list("abcdefgh"), 4))
    with pytest.raises(
        DataError, match=r"^new training images have 0 classes, at least 2 are needed: the old model has the others"
    ):
        draw_splits(images, SplitPlan(scenario="open-class", old_share=1))
    with pytest.raises(
        DataError, match=r"^new training images have 1 classes, at least 2 are needed: the old model has the others"
    ):
        draw_splits(images, SplitPlan(scenario="open-class", old_share=0.8))


def test_published_classes_are_numbered_by_value_whatever_the_plans_seed(image_set):
    # numbered 0 to 9 in the order of the names' values, classes 5, 7, 0 are the old model's: names 6, 8, 1
    numbers = np.repeat([str(number) for number in range(1, 11)], 2)
    images = image_set([*numbers, *"xxyy"], ["train"] * 20 + ["query", "gallery"] * 2)
    for seed in (0, 1):
        splits = draw_splits(images, SplitPlan(drawing="published", seed=seed))
        assert classes_of(images, splits.old_train) == {"1", "6", "8"}
    assert classes_of(images, draw_splits(images, SplitPlan()).old_train) != {"1", "6", "8"}


def test_published_images_are_drawn_class_by_class(image_set):
    # class 0 has one image, class 1 three: the first of each; class 2 has ten: images 1, 7 and 4 of it
    labels = ["a", *"bbb", *"c" * 10, *"xxyy"]
    images = image_set(labels, ["train"] * 14 + ["query", "gallery"] * 2)
    splits = draw_splits(images, SplitPlan(scenario="extended-data", drawing="published"))
    assert splits.old_train.tolist() == [0, 1, 5, 8, 11]
    assert len(splits.train) == 14


@pytest.mark.parametrize("drawing", DRAWINGS)
@pytest.mark.parametrize("scenario", [*SCENARIOS, "open-class"])
def test_prescribed_data_can_be_trained_on_without_its_sides(image_set, drawing, scenario):
    labels = np.repeat(list("abcdefgh"), 4)
    images = image_set([*labels, *"xxyy"], ["train"] * 32 + ["query", "gallery"] * 2)
    plan = SplitPlan(scenario=scenario, drawing=drawing, seed=4)
    splits = draw_splits(images, plan)
    for data in (images, images.take(np.arange(32))):
        train, old = draw_training(data, plan)
        np.testing.assert_array_equal(train, splits.train)
        np.testing.assert_array_equal(old, splits.old_train)


def test_seeds_draw_different_classes_queries_and_old_classes(image_set):
    images = image_set(np.repeat([f"c{number:02d}" for number in range(30)], 6))
    first, second = (draw_splits(images, SplitPlan(seed=seed)) for seed in (0, 1))
    for part in ("train", "old-train", "query", "gallery"):
        assert first.rows(part).tolist() != second.rows(part).tolist()


def test_the_order_of_the_images_does_not_decide_the_classes(image_set):
    labels = np.repeat([f"c{number:02d}" for number in range(10)], 5)
    images, turned = image_set(labels), image_set(labels[::-1])
    first, second = (draw_splits(data, SplitPlan()) for data in (images, turned))
    assert classes_of(images, first.train) == classes_of(turned, second.train)
    assert classes_of(images, first.old_train) == classes_of(turned, second.old_train)


def test_official_parts_are_honoured(image_set):
    parts = ["train"] * 4 + ["query", "gallery", "gallery", "query"]
    images = image_set("aabbcccd", parts)
    for seed in range(5):
        splits = draw_splits(images, SplitPlan(seed=seed))
        assert splits.train.tolist() == [0, 1, 2, 3]
        assert splits.query.tolist() == [4, 7]
        assert splits.gallery.tolist() == [5, 6]


def test_official_evaluation_images_are_parted_into_query_and_gallery(image_set):
    images = image_set("aabbccccd", ["train"] * 4 + ["evaluation"] * 5)
    splits = draw_splits(images, SplitPlan(queries_per_class=2))
    assert splits.train.tolist() == [0, 1, 2, 3]
    assert len(set(splits.query.tolist()) & {4, 5, 6, 7}) == 2
    assert 8 in splits.gallery


def test_open_images_follow_the_official_part_of_their_class(image_set):
    """Whatever is drawn, a class with official images never falls apart."""
    labels = [*"aaabbb", *np.repeat(list("cdefgh"), 3)]
    parts = ["train", "", "", "gallery", "", "", *[""] * 18]
    images = image_set(labels, parts)
    for seed in range(20):
        splits = draw_splits(images, SplitPlan(seed=seed, evaluation_share=0.5, queries_per_class=1))
        check_promises(images, splits)
        assert {0, 1, 2} <= set(splits.train.tolist())
        assert 3 in splits.gallery
        assert len(set(splits.query.tolist()) & {4, 5}) == 1


def test_a_class_on_both_official_sides_is_refused(image_set):
    images = image_set("aabbcc", ["train", "gallery", "train", "train", "query", "gallery"])
    for scenario in (*SCENARIOS, "open-class"):
        for draw in (draw_splits, draw_training):
            with pytest.raises(
                DataError, match=r"^1 classes are in the training and the evaluation part, the first is a$"
            ):
                draw(images, SplitPlan(scenario=scenario))


def test_a_class_with_one_image_goes_to_the_gallery(image_set):
    images = image_set([*"abc", *"dddd", *"eeee", *"ffff", *"gggg"], [*["evaluation"] * 7, *["train"] * 12])
    splits = draw_splits(images, SplitPlan(queries_per_class=3))
    assert {0, 1, 2} <= set(splits.gallery.tolist())
    assert len(splits.query) == 3


def test_every_class_leaves_one_image_in_the_gallery(image_set):
    images = image_set(np.repeat(list("abcde"), 3))
    splits = draw_splits(images, SplitPlan(queries_per_class=50))
    assert classes_of(images, splits.gallery) == classes_of(images, splits.query)
    assert len(splits.query) == 2 * len(splits.gallery)


@pytest.mark.parametrize(
    ("labels", "parts", "message"),
    [
        ("aaaa", None, "all images have 1 classes, at least 2 are needed"),
        ("", None, "all images have 0 classes, at least 2 are needed"),
        ("aabb", None, "training images have 1 classes, at least 2 are needed: the others are held out for evaluation"),
        ("aabb", ["train"] * 4, "no evaluation class has both a query and a gallery image"),
        ("abcdef", None, "no evaluation class has both a query and a gallery image"),
        ("aabbcd", [*["train"] * 4, "query", "gallery"], "no evaluation class has both a query and a gallery image"),
        ("aabb", ["query", "gallery"] * 2, "training images have 0 classes, at least 2 are needed"),
    ],
)
def test_data_that_cannot_be_split_is_refused(image_set, labels, parts, message):
    with pytest.raises(DataError, match=message):
        draw_splits(image_set(labels, parts), SplitPlan())


def test_an_unknown_part_is_refused(image_set):
    splits = draw_splits(image_set(np.repeat(list("abcd"), 3)), SplitPlan())
    with pytest.raises(UnknownName, match=r"unknown part 'galery': did you mean 'gallery'\?"):
        splits.rows("galery")
    with pytest.raises(UnknownName, match="unknown part 'rows'"):
        splits.rows("rows")


@pytest.mark.parametrize(
    "values",
    [
        {"old_share": 0},
        {"old_share": 1.1},
        {"evaluation_share": 1},
        {"queries_per_class": 0},
        {"seed": -1},
        {"sead": 1},
        {"scenario": "open"},
        {"drawing": "theirs"},
    ],
)
def test_a_plan_keeps_its_limits(values):
    with pytest.raises(ValidationError):
        SplitPlan(**values)


def test_the_real_characters_keep_their_official_classes(data_root):
    images = load_omniglot(data_root)
    splits = draw_splits(images, SplitPlan())
    check_promises(images, splits)
    assert set(images.parts[splits.train]) == {"train"}
    assert (len(splits.query), len(splits.gallery)) == (659 * 2, 659 * 18)
    assert len(classes_of(images, splits.old_train)) == round(964 * 0.3)
