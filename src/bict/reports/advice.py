"""The answer of an assessment in plain words: what to do with the gallery, why, and what to run next."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from bict.reports.assessment import Answer, AssessmentRecord, Candidate, Estimate, Kind, Measure
from bict.reports.numbers import MISSING, interval, percent, score, signed
from bict.reports.record import Interval

HEADLINES: dict[Answer, str] = {
    "upgrade": "Upgrade the gallery",
    "bridge": "Keep the gallery, map the queries",
    "fuse": "Upgrade, and keep the old vectors beside",
    "re-embed": "Do not upgrade: re-embed",
    "stay": "Stay with the old model",
}
ACTS: dict[Kind, str] = {
    "old": "keeping the old model",
    "upgrade": "transforming the stored vectors",
    "bridge": "mapping new queries to the stored vectors",
    "head": "mapping new queries to the stored vectors",
    "control": "mapping old queries among the stored vectors",
    "fuse": "transforming the stored vectors and asking both models",
    "backfill": "re-embedding every image",
}
READING = (
    *("id_column", "vector_column", "label_column", "split_column", "metric", "max_pairs"),
    *("old_name", "new_name", "old_fingerprint", "new_fingerprint", "seed"),
)
"""Settings that say how the files are read, so the fit must read them in the same way."""
MEASURED: dict[Measure, str] = {
    "labels": "An item is a right answer to a query if both have the same label in your files.",
    "relevance pairs": "An item is a right answer to a query if your file of relevant pairs says so.",
    "new model's neighbours": (
        "There were no labels: the nearest neighbours under the new model stand in for the right answers. So "
        "re-embedding reaches 1 by construction, and that the new model is better than the old one is taken for "
        "granted, not measured. Give labels or relevant pairs to measure it."
    ),
}


@dataclass(frozen=True)
class Step:
    """Something to do next; the command is empty where it is no command of ours."""

    command: str
    meaning: str


@dataclass(frozen=True)
class Advice:
    """The answer, the sentence that gives its numbers, and what to do next.

    Attributes:
        headline: the answer in a few words.
        method: the chosen method where the headline goes on with its name, else empty.
        sentence: the numbers that decide.
        refused: the bounds that do not hold although stored vectors could serve; empty if there are none.
        steps: what to do next, in order.
        instead: another way that may be the better one, empty if there is none.
    """

    headline: str
    method: str
    sentence: str
    refused: str
    steps: tuple[Step, ...]
    instead: str


def advice(record: AssessmentRecord) -> Advice:
    """What an assessment advises."""
    method = record.chosen if record.verdict == "upgrade" else ""
    refused = _refused(record) if record.verdict in ("upgrade", "bridge", "fuse") else ""
    headline = HEADLINES[record.verdict]
    if record.measure == "new model's neighbours":
        headline = f"If the new model is better: {headline[0].lower()}{headline[1:]}"
    return Advice(
        headline,
        method,
        _sentence(record),
        refused,
        _steps(record),
        _instead(record) if record.verdict in ("upgrade", "re-embed") else "",
    )


def best_candidate(record: AssessmentRecord) -> Candidate | None:
    """The way to serve stored vectors whose numbers the record gives; None where nothing could be fitted."""
    return record.by_name.get(record.best)


def signed_interval(bounds: Interval) -> str:
    """The two ends of the interval of a difference: `+.041 to +.077`."""
    low, high = map(signed, bounds)
    return MISSING if MISSING in (low, high) else f"{low} to {high}"


def share_interval(bounds: Interval, digits: int = 0) -> str:
    """The two ends of the interval of a share: `44 to 60 %`."""
    low, high = (percent(bound, digits) for bound in bounds)
    return MISSING if MISSING in (low, high) else f"{low.removesuffix(' %')} to {high}"


def rate(share: float) -> str:
    """A share that may be tiny, as a percentage of two digits: `0.012 %`."""
    return f"{float(f'{100 * share:.2g}'):.15g} %" if math.isfinite(share) else MISSING


def _sentence(record: AssessmentRecord) -> str:
    old, best, full = record.old.value, record.upgraded.value, record.backfill.value
    if not math.isfinite(old):
        return "mAP was not measured, so these files give no answer in numbers."
    way = best_candidate(record)
    act = ACTS[way.kind if way else "upgrade"]
    if not math.isfinite(best):
        return f"The old vectors give mAP {score(old)}, {_whole(record)}; no way to go on with them was measured."
    if record.verdict == "stay":
        named = f"{act} ({way.name})" if way else act
        return f"The old vectors give mAP {score(old)}, {named} {score(best)}, {_whole(record)}."
    change = f"lifts mAP from {score(old)}" if best > old else f"does not lift mAP: from {score(old)}"
    gain = f" ({_gain(way.gain)})" if way and way.gain and math.isfinite(way.gain.value) else ""
    start = f"{act[0].upper()}{act[1:]} {change} to {score(best)}{gain}"
    if not (math.isfinite(full) and record.recovered_share.value >= 0):
        return f"{start}; {_whole(record)}."
    share = ("only " if record.verdict == "re-embed" else "") + percent(record.recovered_share.value)
    if record.measure == "new model's neighbours":
        return f"{start}, {share} of the way to the new model's own ranking (1 by construction)."
    return f"{start}, {share} of what re-embedding every image would gain ({score(full)})."


def _gain(gain: Estimate) -> str:
    around = signed_interval(gain.interval)
    return signed(gain.value) + ("" if around == MISSING else f", 95 % interval {around}")


def _whole(record: AssessmentRecord) -> str:
    full = record.backfill
    if not math.isfinite(full.value):
        return "re-embedding every image was not measured"
    if record.measure == "new model's neighbours":
        return "re-embedding every image 1 by construction"
    return f"re-embedding every image {score(full.value)} ({interval(full.interval)})"


def _refused(record: AssessmentRecord) -> str:
    failed = [gate.name.replace("_", " ") for gate in record.gates if not gate.passed]
    if not failed:
        return ""
    holds = "a bound you set does not hold" if len(failed) == 1 else f"{len(failed)} bounds you set do not hold"
    return f"But {holds}: {', '.join(failed)}. Do not go on before that is settled."


def _steps(record: AssessmentRecord) -> tuple[Step, ...]:
    files = {key: record.config.get(key, f"{key}.parquet") for key in ("old", "new")}
    reading = {key: record.config[key] for key in READING if record.config.get(key)}
    rung = {"rung": record.chosen.removeprefix("fused-"), **reading}
    fit = f"bict fit {_options(files)} --out psi {_options(rung)}"
    space = f"{record.config.get('out', '.')}/new.space.json"
    upgrade = Step("bict upgrade GALLERY psi", "transforms the stored vectors, no image read; can be rolled back")
    image_by_image = "Embed every image with the new model; no map by itself is shown to be enough."
    steps: dict[Answer, tuple[Step, ...]] = {
        "upgrade": (Step(fit, "fits the transform of the stored vectors"), upgrade),
        "bridge": (
            Step(fit, "fits the map of the queries"),
            Step("", "Send each query of the new model through it; nothing is written to the gallery."),
        ),
        "fuse": (
            Step(fit, "fits the transform of the stored vectors"),
            upgrade,
            Step("", "Ask both models for each query and add the scores; never run bict upgrade finalize."),
        ),
        "re-embed": (
            Step("", image_by_image),
            Step(
                f"bict gallery import VECTORS --to NEW_GALLERY --space {shlex.quote(space)}",
                "fills a gallery of their own with the new vectors",
            ),
        ),
        "stay": (Step("", "Nothing is to be run: go on with the old model and the gallery as it is."),),
    }
    return steps[record.verdict]


def _instead(record: AssessmentRecord) -> str:
    """Asking both models, where that beats the old one and has more first hits right than the best way alone."""
    way = best_candidate(record)
    fused = record.by_name.get(f"fused-{way.name}") if way is not None else None
    if way is None or fused is None or fused.gain is None or way.recall_at_1 is None or fused.recall_at_1 is None:
        return ""
    if not (fused.gain.interval[0] > 0 and fused.recall_at_1.value > way.recall_at_1.value):
        return ""
    return (
        f"Keep the old vectors beside the upgraded ones and ask both models ({fused.name}): first hit right for "
        f"{percent(fused.recall_at_1.value)} of queries in the place of {percent(way.recall_at_1.value)}, and "
        f"{_gain(fused.gain)} mAP over the old model."
    )


def _options(values: Mapping[str, JsonValue]) -> str:
    return " ".join(f"--{key.replace('_', '-')} {shlex.quote(str(value))}" for key, value in values.items())
