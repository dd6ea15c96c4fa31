from __future__ import annotations

import math
import shlex

import pytest
from tests.unit.reports.assessment_sample import UNKNOWN, around, make_assessment, make_verdicts

from bict.reports.advice import HEADLINES, advice, best_candidate, rate, share_interval, signed_interval
from bict.reports.assessment import Gate


def test_every_verdict_has_its_own_headline_and_sentence() -> None:
    found = {name: advice(record) for name, record in make_verdicts().items()}
    assert {name: said.headline for name, said in found.items()} == HEADLINES
    assert (found["upgrade"].method, found["fuse"].method, found["stay"].method) == ("ridge", "", "")
    assert found["upgrade"].sentence == (
        "Transforming the stored vectors lifts mAP from .450 to .512 (+.062, 95 % interval +.044 to +.080), 52 % of "
        "what re-embedding every image would gain (.570)."
    )
    assert found["bridge"].sentence.startswith("Mapping new queries to the stored vectors lifts mAP from .450 to .489")
    assert "asking both models lifts mAP from .450 to .531" in found["fuse"].sentence
    assert "only 6 % of what re-embedding every image would gain (.570)" in found["re-embed"].sentence
    assert found["stay"].sentence == (
        "The old vectors give mAP .560, transforming the stored vectors (ridge) .512, re-embedding every image .570 "
        "(.560-.580)."
    )


def test_without_labels_the_sentence_does_not_call_the_new_model_better() -> None:
    scores = {"old": ("old", 0.6), "ridge": ("upgrade", 0.8), "backfill": ("backfill", 1.0)}
    said = advice(make_assessment(scores=scores, measure="new model's neighbours")).sentence  # type: ignore[arg-type]
    assert "50 % of the way to the new model's own ranking (1 by construction)" in said
    assert "would gain" not in said


def test_a_change_for_the_worse_is_no_lift_and_has_no_share() -> None:
    scores = {"old": ("old", 0.55), "ridge": ("upgrade", 0.5), "backfill": ("backfill", 0.57)}
    said = advice(make_assessment("", scores=scores, verdict="re-embed")).sentence  # type: ignore[arg-type]
    assert "does not lift mAP: from .550 to .500" in said
    assert "%" not in said.replace("95 %", "")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"old": UNKNOWN, "upgraded": UNKNOWN, "backfill": UNKNOWN}, "not measured, so these files give no answer"),
        ({"upgraded": UNKNOWN}, "no way to go on with them was measured"),
        ({"backfill": UNKNOWN, "recovered_share": UNKNOWN}, "re-embedding every image was not measured"),
    ],
)
def test_what_was_not_measured_is_said(changes: dict[str, object], told: str) -> None:
    said = advice(make_assessment(**changes)).sentence  # type: ignore[arg-type]
    assert told in said
    assert "nan" not in said


def test_the_commands_name_the_files_and_survive_a_shell() -> None:
    config = {"old": "my files/old $(rm).parquet", "new": "it's new.parquet"}
    fit, upgrade = advice(make_assessment(config=config)).steps
    assert shlex.split(fit.command) == [
        "bict",
        "fit",
        "--old",
        config["old"],
        "--new",
        config["new"],
        "--out",
        "psi",
        "--rung",
        "ridge",
    ]
    assert upgrade.command == "bict upgrade GALLERY psi"


def test_the_fit_reads_the_files_as_the_assessment_did() -> None:
    config = {"old": "o.npz", "new": "n.npz", "seed": 3, "id_column": "product id", "max_pairs": 500, "old_name": None}
    fit, _ = advice(make_assessment(config=config)).steps
    assert (
        fit.command
        == "bict fit --old o.npz --new n.npz --out psi --rung ridge --id-column 'product id' --max-pairs 500 --seed 3"
    )


def test_re_embedded_vectors_go_into_the_space_that_was_assessed() -> None:
    record = make_verdicts()["re-embed"].model_copy(update={"config": {"out": "runs/my assess"}})
    assert advice(record).steps[-1].command.endswith("--space 'runs/my assess/new.space.json'")


def test_asking_both_models_is_offered_where_more_first_hits_are_right() -> None:
    record = make_verdicts()["upgrade"]
    assert (
        "ask both models (fused-ridge): first hit right for 73 % of queries in the place of 71 %"
        in advice(record).instead
    )
    assert advice(make_verdicts()["fuse"]).instead == advice(make_verdicts()["stay"]).instead == ""
    ridge = record.by_name["ridge"]
    better = [ridge.model_copy(update={"recall_at_1": around(0.9)}) if one is ridge else one for one in record.rungs]
    assert advice(record.model_copy(update={"rungs": better})).instead == ""


def test_without_labels_the_headline_says_what_it_takes_for_granted() -> None:
    said = advice(make_assessment(measure="new model's neighbours"))
    assert said.headline == "If the new model is better: upgrade the gallery"


def test_only_ways_that_rewrite_the_gallery_name_the_upgrade_command() -> None:
    found = {name: [step.command for step in advice(record).steps] for name, record in make_verdicts().items()}
    assert {name for name, commands in found.items() if "bict upgrade GALLERY psi" in commands} == {"upgrade", "fuse"}
    assert {name for name, commands in found.items() if any("bict fit" in one for one in commands)} == {
        *("upgrade", "bridge", "fuse")
    }
    assert found["stay"] == [""]


def test_a_bound_that_does_not_hold_stops_an_upgrade_and_nothing_else() -> None:
    gates = [
        Gate(name="negative_flip_rate", bound=0.03, found=0.041, passed=False),
        Gate(name="recovered_share", bound=0.4, found=0.5, passed=True),
    ]
    assert "a bound you set does not hold: negative flip rate." in advice(make_assessment(gates=gates)).refused
    failed = [gate.model_copy(update={"passed": False}) for gate in gates]
    assert "2 bounds you set do not hold: negative flip rate, recovered share" in (
        advice(make_assessment(gates=failed)).refused
    )
    assert advice(make_assessment(gates=gates[1:])).refused == ""
    assert advice(make_verdicts()["stay"].model_copy(update={"gates": failed})).refused == ""


def test_where_nothing_is_chosen_the_best_is_the_one_the_record_names() -> None:
    for chosen in ("", "old", "backfill"):
        found = best_candidate(make_assessment("").model_copy(update={"chosen": chosen}))
        assert found is not None
        assert found.name == "ridge"
    assert best_candidate(make_assessment("", best="")) is None


@pytest.mark.parametrize(
    ("share", "text"), [(0.000123, "0.012 %"), (4.9e-6, "0.00049 %"), (0.25, "25 %"), (1.0, "100 %"), (math.nan, "-")]
)
def test_a_tiny_share_keeps_two_digits(share: float, text: str) -> None:
    assert rate(share) == text


def test_intervals_of_differences_and_shares() -> None:
    assert signed_interval((-0.004, 0.0771)) == "-.004 to +.077"
    assert share_interval((0.44, 0.6)) == "44 to 60 %"
    assert share_interval((0.0354, 0.047), 1) == "3.5 to 4.7 %"
    assert signed_interval((math.nan, 0.1)) == share_interval((0.1, math.nan)) == "-"
