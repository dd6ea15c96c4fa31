"""`bict assess`: two files of vectors to a verdict, before anything is written to a gallery."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bict.assessment.assess import Findings, assess_pairs
from bict.assessment.pairing import PairedVectors
from bict.assessment.relevance import read_relevance
from bict.embeddings import Embeddings
from bict.errors import SettingsError
from bict.progress import Steps, silent_steps
from bict.reports.assessment import AssessmentRecord, Candidate, Estimate, Gate, save_assessment
from bict.reports.assessment_page import write_assessment_page
from bict.runs import require_writable
from bict.workflow.vectors import Vectors, VectorSettings, read_pairs, write_cards

PACKAGES = ("bict", "numpy", "torch")
RECORD, PAGE = "assessment.json", "assessment.html"
UNKNOWN = Estimate(value=np.nan, interval=(np.nan, np.nan))


@dataclass(frozen=True)
class Assessment:
    """A verdict and how it came about.

    Attributes:
        record: all numbers.
        page: the same to look at.
    """

    record: AssessmentRecord
    page: Path

    @property
    def verdict(self) -> str:
        """One of upgrade, bridge, fuse, re-embed and stay."""
        return self.record.verdict

    @property
    def chosen(self) -> str:
        """The way to serve that the verdict is for."""
        return self.record.chosen

    @property
    def passed(self) -> bool:
        """Whether stored vectors can serve the new model, and every bound holds."""
        return self.record.passed


def assess(
    *,
    old: Vectors,
    new: Vectors,
    out: Path = Path("runs/assess"),
    relevance: Path | None = None,
    rungs: str = "",
    threshold: float | None = None,
    min_recovered: float | None = None,
    max_negative_flips: float | None = None,
    vectors: VectorSettings = VectorSettings(),  # noqa: B008  (frozen)
    seed: int = 0,
    steps: Steps = silent_steps,
) -> Assessment:
    """Say whether an upgrade without embedding again is worth it, from vectors that both models made of the same items.

    Transforms and query bridges are fitted on a part of the pairs, chosen between on another, and judged on a third,
    of other classes where there are labels. Exit code 0: upgrade, bridge or fuse, and every bound holds; 1: re-embed,
    stay, or a bound that does not hold.

    Args:
        old: vectors of the old model: a .parquet, .arrow, .feather, .npz or .npy file.
        new: vectors of the new model, paired with the old ones by id.
        out: directory for the record, the page and the space cards.
        relevance: .csv or .parquet with columns query and item: which ids each query should find.
        rungs: names with commas between, such as ridge,bridge-mlp (default: the ladder and every bridge).
        threshold: similarity (cosine, dot product or negative squared distance, as the old vectors compare) from which
            the application takes two items for the same; carried to the new space.
        min_recovered: least share of a full re-embedding's gain that must be recovered.
        max_negative_flips: largest share of queries that may turn wrong.
        vectors: how the files are read.
        seed: of the parts, the queries, the resampling and what a rung draws.
        steps: told how far each step is.

    Raises:
        BictError: the files cannot be used, or there is too little in them.
    """
    require_writable(Path(out))
    for earlier in (RECORD, PAGE):  # whoever finds one after a failure would take it for the answer
        (Path(out) / earlier).unlink(missing_ok=True)
    bounds = {"recovered share": (min_recovered, 1), "negative flips": (max_negative_flips, -1)}
    _check(bounds, threshold, vectors)
    began = time.perf_counter()
    with steps("read") as progress:
        pairs = read_pairs(old, new, vectors, seed=seed)
        named = None if relevance is None else read_relevance(relevance, pairs.ids)
        progress(1, 1)
    read = time.perf_counter() - began
    names = tuple(name.strip() for name in rungs.split(",") if name.strip())
    found = assess_pairs(pairs, relevance=named, names=names, threshold=threshold, seed=seed, steps=steps)
    config = {
        **{key: str(side) for key, side in (("old", old), ("new", new)) if not isinstance(side, Embeddings)},
        **{"out": str(out), "rungs": rungs, "threshold": threshold, "seed": seed},
        **{"min_recovered": min_recovered, "max_negative_flips": max_negative_flips},
        **({} if relevance is None else {"relevance": str(relevance)}),
        **vectors.model_dump(exclude_defaults=True),
    }
    timing = {"read": round(read, 3), **found.timing, "total": round(time.perf_counter() - began, 3)}
    record = _record(found, pairs, bounds, config, timing)
    write_cards(Path(out), pairs)
    save_assessment(record, Path(out) / RECORD)
    return Assessment(record, write_assessment_page(record, Path(out) / PAGE))


def _record(
    found: Findings,
    pairs: PairedVectors,
    bounds: dict[str, tuple[float | None, int]],
    config: dict[str, str | float | int | None],
    timing: dict[str, float],
) -> AssessmentRecord:
    lines = {line.name: line for line in found.candidates}
    shown = _shown(found, lines)
    share, flips = (_estimate(shown, name) for name in ("recovered_share", "negative_flip_rate"))
    return AssessmentRecord(
        command=_command(config),
        verdict=found.decision.verdict,
        chosen=found.decision.chosen,
        best="" if shown is None else shown.name,
        reasons=found.decision.reasons,
        warnings=[*pairs.warnings, *found.warnings],
        measure=found.measure,
        old=_estimate(lines["old"], "map"),
        upgraded=_estimate(shown, "map"),
        backfill=_estimate(lines["backfill"], "map"),
        recovered_share=share,
        negative_flip_rate=flips,
        rungs=found.candidates,
        learning_curve=found.curve,
        preflight=found.preflight,
        threshold=found.threshold,
        confidence=found.confidence,
        gates=_gates(bounds, {"recovered share": share.value, "negative flips": flips.value}),
        counts=found.counts,
        spaces={"old": pairs.old_space, "new": pairs.new_space},
        versions={package: version(package) for package in PACKAGES},
        timing=timing,
        config=config,
    )


def _check(bounds: dict[str, tuple[float | None, int]], threshold: float | None, vectors: VectorSettings) -> None:
    """Refuse before the work what would be refused after it."""
    for name, (bound, _) in bounds.items():
        if bound is not None and not -1 <= bound <= 1:
            raise SettingsError(f"the bound of {name} is a share, found {bound}: give a number between 0 and 1")
    if threshold is not None and vectors.metric == "cosine" and not -1 <= threshold <= 1:
        raise SettingsError(f"--threshold {threshold}: a cosine lies between -1 and 1")


def _shown(found: Findings, lines: dict[str, Candidate]) -> Candidate | None:
    """The chosen way; where the verdict is to write nothing, the best that could have been written."""
    chosen = lines[found.decision.chosen]
    if chosen.kind not in ("old", "backfill"):
        return chosen
    fitted = [line for line in found.candidates if line.kind in ("upgrade", "bridge") and line.map is not None]
    return max(fitted, key=lambda line: line.choice, default=None)


def _estimate(line: Candidate | None, name: str) -> Estimate:
    found = None if line is None else getattr(line, name)
    return UNKNOWN if found is None else found


def _gates(bounds: dict[str, tuple[float | None, int]], found: dict[str, float]) -> list[Gate]:
    """A bound that cannot be compared, because the number is unknown, does not hold."""
    return [
        Gate(name=name, bound=bound, found=found[name], passed=bool(sign * (found[name] - bound) >= 0))
        for name, (bound, sign) in bounds.items()
        if bound is not None
    ]


def _command(config: dict[str, str | float | int | None]) -> str:
    """The command line that makes the record again."""
    if "old" not in config or "new" not in config:
        return "bict.assess(...), from vectors in memory"
    words = ["bict", "assess"]
    for key, value in config.items():
        if value not in (None, ""):
            words += [f"--{key.replace('_', '-')}", shlex.quote(str(value))]
    return " ".join(words)
