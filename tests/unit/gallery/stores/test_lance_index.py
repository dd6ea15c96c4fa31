"""The index of a Lance table, and how far its building is."""

from __future__ import annotations

import lance
import numpy as np
import pyarrow as pa
import pytest
from lance.progress import IndexProgress

from bict.embeddings import vectors_to_arrow
from bict.gallery.stores.lance_index import build_index


@pytest.fixture
def table(tmp_path):
    def write(rows):
        vectors = np.random.default_rng(0).normal(size=(rows, 8)).astype(np.float32)
        columns = {"id": pa.array(range(rows)), "v1": vectors_to_arrow(vectors)}
        return lance.write_dataset(pa.table(columns), tmp_path / "t.lance", max_rows_per_file=1000)

    return write


def test_every_stage_of_a_build_is_told(table):
    told = []
    assert build_index(table(3000), "v1", "cosine", lambda *call: told.append(call)) == "IVF_FLAT, 55 partitions"
    assert told == sorted(told)
    assert {total for _, total in told} == {300}
    assert {0, 100, 200, 300} <= {done for done, _ in told}
    assert len({done for done, _ in told if done < 100}) > 2  # while k-means runs
    assert len({done for done, _ in told if done > 200}) > 20  # list by list


def test_no_index_is_done_at_once(table):
    told = []
    assert build_index(table(1000), "v1", "l2", lambda *call: told.append(call)).startswith("none: 1000 rows")
    assert told == [(1, 1)]


def test_a_stage_that_does_more_than_it_said_or_never_says_stays_within_its_share():
    """Lance clusters many lists level by level, in more rounds than the total that it gives."""
    told = []

    class Eager:
        """A table that only tells."""

        @staticmethod
        def count_rows(filter):  # noqa: A002
            return 2000

        @staticmethod
        def create_index(*_, progress_callback, **__):
            for event, stage, completed, total in (
                ("start", "train_ivf", 0, None),
                ("progress", "train_ivf", 70, 50),
                ("complete", "train_ivf", 20, 50),
                ("start", "train_quantizer", 0, None),
                ("progress", "something new", 1, 2),
                ("complete", "merge_partitions", 44, 45),
            ):
                progress_callback(IndexProgress(event, stage, completed, total))

    build_index(Eager(), "v1", "dot", lambda *call: told.append(call))
    assert told == [(0, 300), (100, 300), (100, 300), (300, 300)]
