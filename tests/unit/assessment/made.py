"""Pairs of a small world: classes with items around them, seen by two models through random maps with noise."""

from __future__ import annotations

import numpy as np

from bict.assessment.pairing import PairedVectors, pair_files
from bict.assessment.vector_file import in_memory
from bict.embeddings import Embeddings, normalise
from bict.spaces import Space

LATENT = 12


def space(name, dim, **more):
    return Space(**{"name": name, "fingerprint": ("a" if name == "old" else "b") * 16, "dim": dim} | more)


def world(seed=0, *, classes=30, per_class=8, old_noise=0.9, new_noise=0.1, old_dim=24, new_dim=32, labelled=True):
    """A better new model, unless the noises say otherwise."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), per_class)
    latent = rng.standard_normal((classes, LATENT))[labels] + 0.5 * rng.standard_normal((len(labels), LATENT))
    sides = []
    for name, dim, noise in (("old", old_dim, old_noise), ("new", new_dim, new_noise)):
        seen = latent @ rng.standard_normal((LATENT, dim)) / np.sqrt(LATENT)
        vectors = normalise((seen + noise * rng.standard_normal(seen.shape)).astype(np.float32))
        names = np.char.add("class ", labels.astype(str)) if labelled else None
        sides.append(in_memory(Embeddings(np.arange(len(labels)), vectors, space(name, dim), names), name))
    return pair_files(*sides, max_pairs=10_000, seed=0)


def with_split(pairs: PairedVectors, split):
    from dataclasses import replace  # noqa: PLC0415

    return replace(pairs, split=np.asarray(split, str))
