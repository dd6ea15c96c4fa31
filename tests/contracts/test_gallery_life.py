"""A gallery through random lives, on every store, beside a plain dictionary that says what must be there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bict.embeddings import Embeddings, normalise
from bict.errors import GalleryError
from bict.gallery import Gallery, build_index, discard, finalize, info, plan, rollback, stage, status, switch, verify
from bict.gallery.stores import STORES
from bict.gallery.stores.base import present_vectors
from bict.spaces import Space, require_same

SPACES = [Space(name=f"s{n}", fingerprint=f"{n}" * 16, dim=3 + n) for n in range(1, 6)]
TOLERANCE = 1e-5


class Killed(BaseException):
    """Stands for a kill: nothing in the library catches it."""


@dataclass
class Chained:
    """A linear transform from one space to another, that can be killed after some batches."""

    source: Space
    target: Space
    kill_after: int | None = None
    path: Path | None = None
    calls: int = 0

    @property
    def weights(self) -> np.ndarray:
        seed = int(self.source.fingerprint[0] + self.target.fingerprint[0])
        return np.random.default_rng(seed).normal(size=(self.source.dim, self.target.dim)).astype(np.float32)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.weights.tobytes()).hexdigest()

    def apply(self, embeddings: Embeddings) -> Embeddings:
        require_same(embeddings.space, self.source, "Chained")
        if self.calls == self.kill_after:
            raise Killed
        self.calls += 1
        return Embeddings(embeddings.ids, normalise(embeddings.vectors @ self.weights), self.target)


def tags_of(note: int) -> list[int] | None:
    """Payload that is not flat: lists of several lengths, and none."""
    return None if note % 5 == 0 else list(range(int(note) % 4))


@dataclass
class Model:
    """What must be stored: for each id a payload number and vectors by space name, and what became of the columns."""

    rows: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    live: str = "s1"
    kept: list[str] = field(default_factory=list)
    routes: dict[str, list[Chained]] = field(default_factory=dict)


class Life(RuleBasedStateMachine):
    """Operations an operator, an application and a kill may bring in any order."""

    address: str

    @initialize(seed=st.integers(0, 2**16))
    def create(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.model = Model()
        self.count = 0
        first, payload = self._new_rows(6)
        self.gallery = Gallery.create(type(self).fresh(), first, payload, unit_rows=4)
        self._remember(first, payload)

    def _new_rows(self, rows: int) -> tuple[Embeddings, pa.Table]:
        ids = np.array([f"r{self.count + row:03d}" for row in range(rows)])
        self.count += rows
        return self._vectors(ids), self._payload(rows)

    def _payload(self, rows: int) -> pa.Table:
        notes = self.random.integers(0, 1000, rows)
        return pa.table({"note": notes, "tags": pa.array([tags_of(note) for note in notes], pa.list_(pa.int64()))})

    def _vectors(self, ids: np.ndarray) -> Embeddings:
        space = next(space for space in SPACES if space.name == self.model.live)
        return Embeddings(ids, normalise(self.random.normal(size=(len(ids), space.dim)).astype(np.float32)), space)

    def _remember(self, embeddings: Embeddings, payload: pa.Table) -> None:
        for name, vector, note in zip(embeddings.ids, embeddings.vectors, payload["note"].to_pylist(), strict=True):
            self.model.rows[str(name)] = {self.model.live: vector}
            self.model.notes[str(name)] = note

    @rule(rows=st.integers(1, 3))
    def add(self, rows: int) -> None:
        embeddings, payload = self._new_rows(rows)
        self.gallery.add(embeddings, payload)
        self._remember(embeddings, payload)

    @rule(data=st.data())
    def change(self, data: st.DataObject) -> None:
        if not self.model.rows:
            return
        name = data.draw(st.sampled_from(sorted(self.model.rows)))
        embeddings, payload = self._vectors(np.array([name])), self._payload(1)
        self.gallery.add(embeddings, payload, replace=True)
        self._remember(embeddings, payload)

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if len(self.model.rows) < 2:
            return
        name = data.draw(st.sampled_from(sorted(self.model.rows)))
        assert self.gallery.delete([name, "nobody"]) == 1
        del self.model.rows[name], self.model.notes[name]

    def _transforms(self, from_base: bool) -> list[Chained]:
        """Of the column under way, or towards the next space."""
        column = self.gallery.metadata.staged
        if column is not None:
            return self.model.routes[column.space.name]
        last = max(c.generation for c in self.gallery.metadata.columns.values())
        target = SPACES[last]
        stored = [column.space for column in self.gallery.metadata.stored.values()]
        sources = stored if from_base else [next(s for s in SPACES if s.name == self.model.live)]
        return [Chained(source, target) for source in sources]

    @precondition(lambda self: len(self.gallery.metadata.columns) < 4 or self.gallery.metadata.staged)
    @rule(from_base=st.booleans(), kill_after=st.integers(0, 3))
    def run_and_be_killed(self, from_base: bool, kill_after: int) -> None:
        self.run_to_the_end(from_base, kill_after)

    def run_to_the_end(self, from_base: bool, kill_after: int | None = None) -> None:
        transforms = self._transforms(from_base)
        before = self.gallery.metadata
        planned = plan(self.gallery, transforms)
        assert self.gallery.metadata == before
        for transform in transforms:
            transform.kill_after, transform.calls = kill_after, 0
        try:
            report = stage(self.gallery, transforms)
        except Killed:
            self.gallery = Gallery.open(self.gallery.address)
            if self.gallery.metadata.staged:
                self.model.routes[transforms[0].target.name] = transforms
            return
        except GalleryError as error:
            assert "give also a transform" in str(error)
            assert planned.problems
            return
        finally:
            for transform in transforms:
                transform.kill_after = None
        assert report.column == planned.column
        self.model.routes[transforms[0].target.name] = transforms
        self._carry(transforms)

    def _carry(self, transforms: list[Chained]) -> None:
        for name, vectors in self.model.rows.items():
            for transform in transforms:
                if transform.source.name in vectors:
                    old = Embeddings(np.array([name]), vectors[transform.source.name][None], transform.source)
                    vectors[transform.target.name] = transform.apply(old).vectors[0]
                    break

    @precondition(lambda self: self.gallery.metadata.staged and self.gallery.metadata.staged.state == "staged")
    @rule()
    def verify(self) -> None:
        self.check()

    def check(self) -> None:
        transforms = self.model.routes[self.gallery.metadata.staged.space.name]
        report = verify(self.gallery, transforms, sample=8)
        assert {check.name for check in report.failed} <= {"rows", "checksums"}  # rows that changed since

    @rule()
    def index(self) -> None:
        staged = self.gallery.metadata.staged
        if staged is None or staged.state == "staged":
            assert build_index(self.gallery)

    @precondition(lambda self: len(self.gallery.metadata.columns) < 4 or self.gallery.metadata.staged)
    @rule(from_base=st.booleans())
    def run_verify_and_switch(self, from_base: bool) -> None:
        self.run_to_the_end(from_base)
        staged = self.gallery.metadata.staged
        if staged is not None and staged.state == "staged":
            self.check()
            self.go_live()

    @precondition(lambda self: self.gallery.metadata.staged)
    @rule()
    def switch(self) -> None:
        self.go_live()

    def go_live(self) -> None:
        staged = self.gallery.metadata.staged
        try:
            switch(self.gallery)
        except GalleryError as error:
            assert any(text in str(error) for text in ("is staged", "half staged", "not verified", "run again"))
            return
        self.model.kept.append(self.model.live)
        self.model.live = staged.space.name

    @precondition(lambda self: self.model.kept)
    @rule(leave_out=st.booleans())
    def rollback(self, leave_out: bool) -> None:
        try:
            rollback(self.gallery, leave_out=leave_out)
        except GalleryError as error:
            assert any(text in str(error) for text in ("nothing to roll back", "have no vector in"))
            return
        self.model.live = self.model.kept.pop()

    @precondition(lambda self: self.gallery.metadata.staged)
    @rule()
    def discard(self) -> None:
        staged = self.gallery.metadata.staged
        try:
            discard(self.gallery)
        except GalleryError as error:
            assert any(text in str(error) for text in ("is staged", "a vector only in"))
            return
        for vectors in self.model.rows.values():
            vectors.pop(staged.space.name, None)
        assert all(self.model.rows.values())

    @precondition(lambda self: self.model.kept)
    @rule(drop_base=st.booleans())
    def finalize(self, drop_base: bool) -> None:
        try:
            done = finalize(self.gallery, drop_base=drop_base)
        except GalleryError as error:
            assert any(text in str(error) for text in ("before finalizing", "a vector only in"))
            return
        columns = self.gallery.metadata.columns
        gone = {columns[name].space.name for name in done.dropped}
        self.model.kept = [name for name in self.model.kept if name not in gone]
        for vectors in self.model.rows.values():
            for name in gone:
                vectors.pop(name, None)
        assert all(self.model.rows.values())

    @rule()
    def reopen(self) -> None:
        self.gallery = Gallery.open(self.gallery.address)

    @rule(data=st.data())
    def search(self, data: st.DataObject) -> None:
        """The nearest row of a stored vector is its own, and every row with a live vector is found once."""
        served = {name: rows[self.model.live] for name, rows in self.model.rows.items() if self.model.live in rows}
        if not served:
            return
        name = data.draw(st.sampled_from(sorted(served)))
        space = self.gallery.active_space
        result = self.gallery.search(Embeddings(np.array(["q"]), served[name][None], space), k=len(served) + 3)
        assert result.ids[0, 0] == name
        assert sorted(result.ids[0]) == sorted(served)
        np.testing.assert_allclose(result.similarities[0, 0], 1, atol=1e-4)

    @invariant()
    def what_is_stored_is_what_was_written(self) -> None:
        metadata = self.gallery.metadata
        assert metadata.active_column.space.name == self.model.live
        exact = [c for c in metadata.stored.values() if c.state in ("live", "kept")]
        names = [column.name for column in exact]
        found: dict[str, dict[str, np.ndarray]] = {}
        for batch in self.gallery.store.scan(["id", "note", "tags", *names]):
            ids = batch["id"].to_pylist()
            notes = [self.model.notes[name] for name in ids]
            assert batch["note"].to_pylist() == notes
            assert batch["tags"].to_pylist() == [tags_of(note) for note in notes]
            found |= {name: {} for name in ids}
            for column in exact:
                vectors, there = present_vectors(batch[column.name])
                for row, vector in zip(np.flatnonzero(there), vectors, strict=True):
                    found[ids[row]][column.space.name] = vector
        assert found.keys() == self.model.rows.keys()
        for name, vectors in found.items():
            wanted = {c.space.name for c in exact} & self.model.rows[name].keys()
            assert vectors.keys() == wanted, name
            for space in wanted:
                np.testing.assert_allclose(vectors[space], self.model.rows[name][space], atol=TOLERANCE)

    @invariant()
    def it_can_be_described(self) -> None:
        described = info(self.gallery)
        assert described.rows == len(self.model.rows)
        assert described.unserved == sum(self.model.live not in rows for rows in self.model.rows.values())
        assert status(self.gallery).live == self.gallery.active_column


@pytest.mark.slow
@pytest.mark.parametrize("store", [*sorted(STORES), "lance over s3"])
def test_a_gallery_survives_any_life(store, store_addresses, tmp_path_factory):
    life = type("LifeOnOneStore", (Life,), {"fresh": staticmethod(lambda: store_addresses(store))})
    run_state_machine_as_test(
        life,
        settings=settings(
            max_examples=3 if "s3" in store else 25,  # each step is dozens of requests there
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.generate),
            derandomize=True,
        ),
    )
