"""Cases with a known right answer, for `bict assess`: what it says of each, and what the pre-flight score said before.

    python benchmarks/assess_cases.py --photos PHOTOS --json benchmarks/records/assess_cases.json

Twelve cases are drawn from one world: classes are points in 24 dimensions, items lie around them, and a model sees them
through a random map with noise. With `--photos` also two pairs of published networks on the Grocery Store Dataset
(Klasson et al., WACV 2019), three draws of the classes each: the transform is fitted on 50 classes and judged on the
other 31, query = official test photos, gallery = all others.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from bict.assessment.assess import Findings, assess_pairs
from bict.assessment.pairing import PairedVectors, pair_files
from bict.assessment.vector_file import in_memory, open_vector_file
from bict.cli.progress import terminal_steps
from bict.embeddings import Embeddings, normalise
from bict.evaluation import BackfillCurve
from bict.reports.assessment import Confidence
from bict.runs import write_json
from bict.spaces import Space, fingerprint

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from own_embeddings import embed

Array = NDArray[np.float64]

CLASSES, PER_CLASS, LATENT = 80, 20, 24
ENDS = ("old", "backfill", "old-head")
SERVES = ("upgrade", "fuse", "bridge")
"""Verdicts that say that the stored vectors can serve the new model."""
WIDTH = 0.65
"""Spread of the items of a class, in units of that of the classes."""


@dataclass(frozen=True)
class World:
    """Items of classes: `latent` is `(items, latent)`, `labels` their classes."""

    latent: Array
    labels: NDArray[np.int64]
    rng: np.random.Generator

    @classmethod
    def draw(cls, seed: int, classes: int = CLASSES, per_class: int = PER_CLASS) -> World:
        rng = np.random.default_rng(seed)
        labels = np.repeat(np.arange(classes), per_class)
        centres = rng.standard_normal((classes, LATENT))
        return cls(centres[labels] + WIDTH * rng.standard_normal((len(labels), LATENT)), labels, rng)

    def model(self, dim: int, noise: float, *, seen: int = LATENT, latent: Array | None = None) -> Array:
        """Vectors of a model that sees so many of the dimensions, with noise in each of its own."""
        latent = self.latent if latent is None else latent
        view = self.rng.standard_normal((seen, dim)) / np.sqrt(seen)
        return latent[:, :seen] @ view + noise * self.rng.standard_normal((len(latent), dim))


@dataclass(frozen=True)
class Case:
    """Vectors of both models, and the verdicts that are right."""

    old: Array
    new: Array
    labels: NDArray[np.int64] | None
    right: tuple[str, ...]


def rotation(seed: int) -> Case:
    """The new model is the old one turned: nothing is gained."""
    world = World.draw(seed)
    old = world.model(64, 0.6)
    turn = np.linalg.qr(world.rng.standard_normal((64, 64)))[0]
    return Case(old, old @ turn, world.labels, ("stay",))


def rotation_and_noise(seed: int) -> Case:
    """The old model is the new one turned, with noise."""
    world = World.draw(seed)
    new = world.model(64, 0.1)
    turn = np.linalg.qr(world.rng.standard_normal((64, 64)))[0]
    return Case(new @ turn + 0.9 * world.rng.standard_normal(new.shape), new, world.labels, SERVES)


def lost_dimensions(seed: int) -> Case:
    """The old model sees a quarter of what the new one sees: no map brings the rest back."""
    world = World.draw(seed)
    return Case(world.model(64, 0.02, seen=6), world.model(64, 0.02), world.labels, ("re-embed",))


def unrelated(seed: int) -> Case:
    """Both tell classes apart, by things that have nothing to do with each other."""
    world, other = World.draw(seed), World.draw(seed + 1000)
    return Case(world.model(64, 0.9), other.model(64, 0.1), world.labels, ("re-embed",))


def swapped(seed: int) -> Case:
    """The two files are exchanged."""
    case = rotation_and_noise(seed)
    return replace(case, old=case.new, new=case.old, right=("stay",))


def new_is_worse(seed: int) -> Case:
    """The new model sees less, with more noise."""
    world = World.draw(seed)
    return Case(world.model(64, 0.3), world.model(64, 0.9, seen=12), world.labels, ("stay",))


def few_pairs(seed: int) -> Case:
    """A better new model, and 30 pairs: nothing can be shown."""
    world = World.draw(seed, classes=15, per_class=2)
    return Case(world.model(64, 0.5), world.model(64, 0.4), world.labels, ("stay", "re-embed"))


def label_noise(seed: int) -> Case:
    """A better new model, and every tenth label is wrong."""
    world = World.draw(seed)
    wrong = world.rng.random(len(world.labels)) < 0.1
    labels = np.where(wrong, world.rng.integers(0, CLASSES, len(wrong)), world.labels)
    return Case(world.model(64, 0.9), world.model(64, 0.1), labels, SERVES)


def anisotropic(seed: int) -> Case:
    """Both models put all items into one corner, and use few of their dimensions."""
    world = World.draw(seed)
    scale = np.geomspace(1, 0.05, 64)
    old, new = (world.model(64, noise) * scale + 3 * scale[::-1] for noise in (0.9, 0.1))
    return Case(old, new, world.labels, SERVES)


def other_dimension(seed: int) -> Case:
    """The new vectors are three times as long as the old ones."""
    world = World.draw(seed)
    return Case(world.model(48, 0.9), world.model(144, 0.1), world.labels, SERVES)


def no_labels(seed: int) -> Case:
    """A better new model, and nobody says what belongs together."""
    return replace(rotation_and_noise(seed), labels=None)


def same_again(seed: int) -> Case:
    """The new model is as good as the old one, and another."""
    world = World.draw(seed)
    return Case(world.model(64, 0.5), world.model(64, 0.5), world.labels, ("stay",))


CASES: dict[str, Callable[[int], Case]] = {
    make.__name__.replace("_", " "): make
    for make in (
        *(rotation, rotation_and_noise, lost_dimensions, unrelated, swapped, new_is_worse),
        *(few_pairs, label_noise, anisotropic, other_dimension, no_labels, same_again),
    )
}


def paired(case: Case) -> PairedVectors:
    """The case as vectors of two spaces, paired by id."""
    labels = None if case.labels is None else case.labels.astype(str)
    sides = []
    for name, vectors in (("old", case.old), ("new", case.new)):
        unit = normalise(vectors.astype(np.float32))
        space = Space(name=name, fingerprint=fingerprint(name.encode(), unit.tobytes()), dim=unit.shape[1])
        sides.append(in_memory(Embeddings(np.arange(len(unit)), unit, space, labels), name))
    return pair_files(*sides, max_pairs=200_000, seed=0)


def photo_pairs(photos: Path, out: Path, sizes: tuple[int, int]) -> PairedVectors:
    """Both published networks' vectors of all photos, embedded once."""
    with terminal_steps() as steps:
        files = [
            embed(photos, out, f"{model}-{size}", f"timm:tf_efficientnet_{model}", size, steps)
            for model, size in zip(("lite0", "lite2"), sizes, strict=True)
        ]
    return pair_files(*map(open_vector_file, files), max_pairs=200_000, seed=0)


def draw_classes(pairs: PairedVectors, seed: int, training: int = 50) -> PairedVectors:
    """The pairs with a split: of the classes not drawn, the official test photos are queries, the rest is gallery."""
    assert pairs.labels is not None
    names = np.unique(pairs.labels)
    drawn = names[torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).numpy()[:training]]
    test = np.char.startswith(np.array([str(name).rsplit("/", 1)[-1] for name in pairs.ids]), "test_")
    held = np.where(test, "query", "gallery")
    return replace(pairs, split=np.where(np.isin(pairs.labels, drawn), "fit", held))


PHOTO_CASES = {
    "lite0 at 64 to lite2 at 192": ((64, 192), ("upgrade",)),
    "lite0 at 128 to lite2 at 192": ((128, 192), ("stay", "re-embed")),
}


def line(name: str, seed: int, pairs: PairedVectors, right: tuple[str, ...]) -> dict[str, Any]:
    """What an assessment says of a case."""
    began = time.perf_counter()
    found = assess_pairs(pairs, seed=seed)
    seconds = round(time.perf_counter() - began, 1)
    verdict = found.decision.verdict
    return {
        **{"case": name, "seed": seed, "right": list(right), "verdict": verdict, "correct": verdict in right},
        **{"chosen": found.decision.chosen, "pairs": len(pairs.ids), "agreement": found.preflight.agreement},
        **{"seconds": seconds, "rows": _rows(found), "confidence": _confidence(found.confidence)},
    }


def _confidence(found: Confidence | None) -> dict[str, float] | None:
    """How well the predicted errors order the items, and what that gives a backfill: areas under both curves."""
    if found is None:
        return None
    curves = {"predicted_first": found.predicted_first, "random": found.random}
    areas = {name: round(BackfillCurve(found.ratios, scores).area, 4) for name, scores in curves.items()}
    return {"rank_correlation": round(found.rank_correlation, 3), **areas}


def foretold(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Whether the pre-flight agreement says how much of a backfill's gain is recovered, where there is a gain."""
    cases = [one for one in lines if one["rows"]["backfill"]["gain"] > 0.02]
    best = [max(row["recovered_share"] for name, row in one["rows"].items() if name not in ENDS) for one in cases]
    agreement = [one["agreement"] for one in cases]
    return {"cases": len(cases), "spearman": round(float(spearmanr(agreement, best).statistic), 3)}


def _rows(found: Findings) -> dict[str, dict[str, float | None]]:
    """mAP, gain over old and recovered share of every way that was fitted."""
    return {
        one.name: {
            "map": round(one.map.value, 4),
            "gain": round(one.gain.value, 4),
            "recovered_share": round(one.recovered_share.value, 4) if np.isfinite(one.recovered_share.value) else None,
        }
        for one in found.candidates
        if one.map and one.gain and one.recovered_share
    }


def show(lines: list[dict[str, Any]]) -> None:
    table = Table("case", "right", "verdict", "chosen", "old", "best", "new", "agreement", box=None)
    for one in lines:
        rows = one["rows"]
        best = max(row["map"] for name, row in rows.items() if name not in ("old", "backfill"))
        scores = [f"{value:.3f}" for value in (rows["old"]["map"], best, rows["backfill"]["map"], one["agreement"])]
        style = "" if one["correct"] else "bold red"
        table.add_row(f"{one['case']} ({one['seed']})", "/".join(one["right"]), one["verdict"], one["chosen"], *scores,
                      style=style)  # fmt: skip
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder with one folder per class")
    parser.add_argument("--out", type=Path, default=Path("runs/assess-cases"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="write the record here")
    options = parser.parse_args()
    lines = []
    for name, make in CASES.items():
        for seed in options.seeds:
            case = make(seed)
            lines.append(line(name, seed, paired(case), case.right))
    for name, (sizes, right) in PHOTO_CASES.items() if options.photos else ():
        pairs = photo_pairs(options.photos, options.out, sizes)
        lines += [line(name, seed, draw_classes(pairs, seed), right) for seed in options.seeds]
    show(lines)
    command = "python benchmarks/assess_cases.py" + (" --photos PHOTOS" if options.photos else "")
    if options.json:
        record = {"command": command, "seeds": options.seeds, "cases": lines, "agreement_and_share": foretold(lines)}
        write_json(options.json, record)


if __name__ == "__main__":
    main()
