# ruff: noqa: S608, S106 - an application's statements, with names that this file made
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from tests.postgres_server import PASSWORD, serving

from bict.embeddings import Embeddings, arrow_to_vectors, normalise, vectors_to_arrow
from bict.errors import BictError, GalleryError, MissingExtra
from bict.gallery import Gallery, build_index, discard, finalize, info, rollback, stage, status, switch, upgrade, verify
from bict.gallery.adopting import adopt
from bict.gallery.stores import open_store, pgvector_index, pgvector_link, pgvector_search, pgvector_staging, store_of
from bict.gallery.stores.pgvector import PgvectorStore
from bict.gallery.stores.pgvector_link import parse
from bict.spaces import Space

ODD = 'odd"; DROP TABLE x; --%s{}'


@pytest.fixture
def address(postgres):
    return postgres.address(f"t_{uuid.uuid4().hex}")


@pytest.fixture
def sql(postgres):
    """Runs a statement as another session."""
    with postgres.connect() as connection:
        yield lambda statement, *values: connection.execute(statement, values or None)


def table_of(address):
    return parse(address).table


def make(address, embeddings, payload=None, unit_rows=10):
    return Gallery.create(address, embeddings(), payload() if payload else None, unit_rows=unit_rows)


def staged(gallery, transform):
    stage(gallery, transform)
    assert verify(gallery, transform).passed
    return gallery


def nulls(gallery, column):
    return {
        r
        for b in gallery.store.scan([gallery.store.id_column, column])
        for r, v in zip(*b.columns, strict=True)
        if not v.is_valid
    }


def names(values):
    return {str(value) for value in values}


class TestAddresses:
    def test_a_password_is_never_shown(self, postgres):
        for address in (
            postgres.network_address(password="wr0ng-secret"),
            f"postgresql://127.0.0.1:{postgres.port}/postgres?user=postgres&password=wr0ng-secret",
            "postgresql://me:wr0ng-secret@127.0.0.1:1/nowhere",
            "postgresql://me:wr0ng-secret/more@host/db",
            "postgresql://me:wr0ng-secret@more@host/db",
            "postgresql://me:wr0ng-secret%zz@host/db",
            f"postgresql://127.0.0.1:{postgres.port}/postgres?user=postgres&pass%77ord=wr0ng-secret",
            "postgresql://127.0.0.1:1/nowhere?PASSWORD=wr0ng-secret",
            "postgresql://127.0.0.1:1/nowhere?options=-csome.key%3Dwr0ng-secret&sslpassword=wr0ng-secret",
        ):
            with pytest.raises(GalleryError) as caught:
                open_store(address)
            assert "secret" not in str(caught.value)
            assert "\n" not in str(caught.value)

    def test_wrong_credentials_and_databases_are_named(self, postgres):
        with pytest.raises(GalleryError, match=r"password authentication failed for user .*check server, database"):
            open_store(postgres.network_address(password="wrong"))
        with pytest.raises(GalleryError, match='database "nowhere" does not exist'):
            open_store(postgres.address(database="nowhere"))

    def test_an_address_is_shown_without_its_password(self, postgres, embeddings):
        address = postgres.network_address(f"t_{uuid.uuid4().hex}")
        store = make(address, embeddings).store
        assert store.address == address.replace(":s3cret%2Fword", "")
        assert PASSWORD not in repr(vars(store))
        assert "s3cret" not in repr(store._place)
        assert store.reach().servers == (("127.0.0.1", postgres.port),)
        assert store_of("postgres://h/db") == (PgvectorStore, "postgres://h/db")

    def test_only_options_without_secrets_are_shown(self):
        place = parse("postgresql://me@h/d?pass%77ord=a&PassWord=b&host=h&%74able=s.t&SSLMODE=disable&odd=c&sslkey=d")
        assert place.shown == "postgresql://me@h/d?host=h&%74able=s.t&SSLMODE=disable"
        assert (place.schema, place.table) == ("s", "t")
        assert place.conninfo == "postgresql://me@h/d?pass%77ord=a&PassWord=b&host=h&SSLMODE=disable&odd=c&sslkey=d"
        assert place.secrets == ("a", "b", "c", "d")

    def test_a_socket_is_reached_by_its_folder(self, postgres, address, embeddings):
        assert make(address, embeddings).store.reach().paths == (postgres.folder,)

    def test_a_table_lies_in_the_schema_that_is_named(self, postgres, sql, embeddings):
        sql("CREATE SCHEMA IF NOT EXISTS apart")
        gallery = make(postgres.address("apart.items"), embeddings)
        assert sql("SELECT count(*) FROM apart.items").fetchone() == (25,)
        assert len(gallery.vectors()) == 25
        with pytest.raises(GalleryError, match="exists"):
            make(postgres.address("apart.items"), embeddings)
        with pytest.raises(GalleryError, match="is not a gallery"):
            open_store(postgres.address("items"))

    @pytest.mark.parametrize("table", ["", ".x", "x" * 64, "schema."])
    def test_an_address_without_a_table_is_refused(self, postgres, table):
        with pytest.raises(GalleryError, match="names no table"):
            open_store(postgres.address(table))

    def test_without_psycopg_the_extra_is_named(self, monkeypatch, address):
        monkeypatch.setitem(sys.modules, "psycopg", None)
        with pytest.raises(MissingExtra, match=r"psycopg is not installed: pip install 'bict\[postgres\]'"):
            open_store(address)

    def test_a_database_without_pgvector_is_refused_in_one_line(self, postgres, sql, embeddings):
        sql("CREATE ROLE guest LOGIN PASSWORD 'guest'")
        sql("CREATE DATABASE bare")
        address = f"postgresql://guest:guest@127.0.0.1:{postgres.port}/bare"
        with pytest.raises(GalleryError, match=r"has no pgvector: .* CREATE EXTENSION vector") as caught:
            make(address, embeddings)
        assert "\n" not in str(caught.value)


class TestColumns:
    def test_names_are_quoted_wherever_they_stand(self, postgres, sql, embeddings, linear):
        table = f"{ODD}{uuid.uuid4().hex[:8]}".replace(".", "")
        address = postgres.address(table.replace("%", "%25").replace("{", "%7B").replace("#", "%23"))
        payload = pa.table({ODD: pa.array([f"'{row}\"; --" for row in range(25)])})
        gallery = Gallery.create(address, embeddings(), payload, unit_rows=10)
        staged(gallery, linear())
        build_index(gallery)
        switch(gallery)
        gallery.add(embeddings(space=linear().target), payload, replace=True)
        assert gallery.search(embeddings(2, linear().target), 3, include=[ODD]).payload[ODD].shape == (2, 3)
        assert gallery.delete(["image-3", "'; DROP TABLE x"]) == 1
        rows = sql(psycopg.sql.SQL("SELECT count(*) FROM {}").format(psycopg.sql.Identifier(table))).fetchone()
        assert rows == (24,)

    def test_payload_comes_back_as_it_was(self, address, embeddings):
        times = [datetime(2024, 5, 17, 1, 2, 3, 456789), None, datetime(1962, 1, 1)]
        payload = pa.table(
            {
                "flag": pa.array([True, None, False]),
                "small": pa.array([-128, 127, None], pa.int8()),
                "unsigned": pa.array([0, 255, None], pa.uint8()),
                "big": pa.array([2**63 - 1, -(2**63), None]),
                "bigger": pa.array([2**64 - 1, 0, None], pa.uint64()),
                "single": pa.array([1.5, float("-inf"), None], pa.float32()),
                "double": pa.array([0.1, 1e300, None]),
                "text": pa.array(["", "naïve \\ \"quoted\"\n'x'", None]),
                "large": pa.array(["a", "b", None], pa.large_string()),
                "shop": pa.array(["north", None, "north"]).dictionary_encode(),
                "raw": pa.array([b"", b"\0\xff", None]),
                "day": pa.array([date(1999, 12, 31), date(2030, 1, 1), None]),
                "local": pa.array(times, pa.timestamp("us")),
                "instant": pa.array([None, datetime(2024, 1, 1, tzinfo=UTC), None], pa.timestamp("ms", "UTC")),
                "price": pa.array([Decimal("1.20"), None, Decimal("-3.00")], pa.decimal128(9, 2)),
                "tags": pa.array([[1, 2], [], None], pa.list_(pa.int16())),
                "box": pa.array([[0.5, 1.5], None, [1e-3, 2]], pa.list_(pa.float32(), 2)),
                "place": pa.array([{"x": 1, "names": ["a", None]}, None, {"x": None, "names": []}]),
            }
        )
        gallery = Gallery.create(address, embeddings(3), payload)
        assert gallery.store.schema().field("tags").type == pa.list_(pa.int16())
        ids = pa.array([f"image-{row}" for row in range(3)])
        assert gallery.store.fetch(ids, payload.column_names).drop(["id"]).equals(payload)
        gallery.add(embeddings(3, start=3), payload.append_column("label", pa.array(["a", "b", "c"])).drop(["label"]))
        gallery.add(embeddings(3, start=0), payload.take([2, 1, 0]), replace=True)
        again = Gallery.open(address).store
        assert (
            again.fetch(pa.array(["image-3", "image-4", "image-5"]), payload.column_names).drop(["id"]).equals(payload)
        )
        found = again.fetch(ids, payload.column_names).drop(["id"]).to_pydict()
        assert found == payload.take([2, 1, 0]).to_pydict()

    @pytest.mark.parametrize(
        ("column", "message"),
        [
            (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())), "cannot keep"),
            (pa.array([[float("nan")]]), "NaN or infinity"),
        ],
    )
    def test_payload_that_would_not_come_back_is_refused(self, address, embeddings, column, message):
        with pytest.raises(GalleryError, match=message):
            Gallery.create(address, embeddings(1), pa.table({"odd": column}))
        with pytest.raises(GalleryError, match="is not a gallery"):
            Gallery.open(address)

    @pytest.mark.parametrize("kind", ["text", "varchar(40)", "char(40)", "uuid", "smallint", "integer", "bigint"])
    def test_ids_of_every_kind(self, address, sql, kind, linear, monkeypatch):
        monkeypatch.setattr(pgvector_staging, "UNIT_ROWS", 10)
        whole = kind in ("smallint", "integer", "bigint")
        ids = [str(uuid.UUID(int=row * 2**100)) if not whole else row - 5 for row in range(25)]
        gallery, vectors = adopted(address, sql, kind, ids, linear())
        transform = linear()
        assert stage(gallery, transform).units == 3
        assert verify(gallery, transform).passed
        switch(gallery)
        found = gallery.vectors()
        order = [ids.index(value) for value in (found.ids.tolist())]
        expected = transform.apply(vectors)
        np.testing.assert_allclose(found.vectors, expected.vectors[order], atol=1e-6)
        assert gallery.delete([ids[10], ids[11]]) == 2
        assert len(gallery.store.units("v2")) == 2
        assert gallery.search(expected.take(np.array([3])), 1).ids[0, 0] == ids[3]
        assert rollback(gallery) == "embedding"

    def test_a_column_that_finds_no_row_is_no_id(self, address, sql):
        sql(f"CREATE TABLE {table_of(address)} (name text, numbers integer[], v vector(2))")
        store = open_store(address)
        store.id_column = "name"
        for use in (lambda: list(store.scan(["v"])), lambda: store.begin_stage("v2", 2, "dot")):
            with pytest.raises(GalleryError, match=r"'name' of .* is no key"):
                use()
        assert store.schema().field("numbers").type == pa.string()
        store.id_column = "other"
        with pytest.raises(GalleryError, match="has no column 'other': found name, numbers, v"):
            list(store.scan(["v"]))

    def test_a_vector_column_without_a_width_takes_that_of_its_vectors(self, address, sql):
        table = table_of(address)
        sql(f"CREATE TABLE {table} (id bigint PRIMARY KEY, v vector, w vector)")
        store = open_store(address)
        assert store.schema().field("v").type == pa.string()
        sql(f"INSERT INTO {table} VALUES (1, '[1,2,3]', '[1]'), (2, '[3,4,5]', '[1,2]')")
        assert store.schema().field("v").type == pa.list_(pa.float32(), 3)
        assert arrow_to_vectors(next(store.scan(["v"]))["v"]).tolist() == [[1, 2, 3], [3, 4, 5]]
        assert store.build_index("v", "cosine").startswith("none: column 'v' declares no width")
        with pytest.raises(GalleryError, match="'w' holds vectors of different widths"):
            list(store.scan(["w"]))

    @pytest.mark.parametrize(
        ("dim", "index"), [(2000, "HNSW over vector"), (2100, "HNSW over halfvec"), (4100, "none")]
    )
    def test_wide_vectors_are_indexed_as_far_as_pgvector_goes(self, address, dim, index):
        vectors = np.random.default_rng(0).normal(size=(60, dim)).astype(np.float32)
        rows = pa.table({"id": pa.array(range(60)), "v1": vectors_to_arrow(vectors)})
        store = PgvectorStore.create(address, [rows], "{}", unit_rows=50)
        assert store.build_index("v1", "l2").startswith(index)
        for exact in (True, False):
            hits = store.search("v1", vectors[:3], 2, "l2", exact=exact)
            assert hits.ids[:, 0].tolist() == [0, 1, 2]
            np.testing.assert_allclose(hits.scores[:, 0], 0, atol=1e-3)
        np.testing.assert_array_equal(arrow_to_vectors(next(store.scan(["v1"]))["v1"])[:60], vectors)

    def test_queries_of_another_width_are_refused(self, address, embeddings):
        with pytest.raises(GalleryError, match="queries of 5 dimensions, column 'v1' of"):
            make(address, embeddings).store.search("v1", np.ones((1, 5), np.float32), 1, "dot")


class TestNamesInUse:
    @pytest.mark.parametrize("kind", ["text", "vector(5)", "vector", "numeric[]"])
    def test_a_column_of_an_application_is_neither_used_nor_dropped(self, address, sql, embeddings, kind):
        store, table = make(address, embeddings).store, table_of(address)
        sql(f"ALTER TABLE {table} ADD COLUMN v2 {kind}")
        with pytest.raises(GalleryError, match=rf"column 'v2' of .* is there already, as {re.escape(kind)}: rename it"):
            store.begin_stage("v2", 6, "cosine")
        assert "v2" in store.schema().names

    def test_a_column_of_the_right_width_is_gone_on_with(self, address, sql, embeddings, linear):
        gallery, transform = make(address, embeddings), linear()
        stage(gallery, transform)
        gallery.store.begin_stage("v2", 6, "cosine")
        assert nulls(gallery, "v2") == set()
        assert stage(gallery, transform).units_skipped == 3

    def test_an_adopted_payload_column_is_kept_through_an_upgrade(self, address, sql, linear):
        gallery, _ = adopted(address, sql, "text", ["a", "b"], linear(), more=", v2 text DEFAULT 'mine'")
        assert upgrade(gallery, linear()).column == "v3"
        assert rollback(gallery) == "embedding"
        assert discard(gallery) == "v3"
        assert sql(f"SELECT v2 FROM {table_of(address)}").fetchall() == [("mine",), ("mine",)]

    @pytest.mark.parametrize("kind", ["text", "vector(6)", "vector(5)"])
    def test_a_column_that_came_before_staging_began_outlives_its_end(self, address, sql, embeddings, linear, kind):
        """A run was killed after it recorded v2, and then the application took the name."""
        gallery, table = make(address, embeddings), table_of(address)
        stage(gallery, linear())
        recorded = gallery.metadata
        discard(gallery)
        gallery.edit(lambda _: recorded.changed("v2", state="staging"))
        sql(f"ALTER TABLE {table} ADD COLUMN v2 {kind}")
        sql(f"UPDATE {table} SET v1 = '[1,0,0,0]' WHERE id = 'image-1'")
        if kind != "vector(6)":
            with pytest.raises(GalleryError, match="is there already"):
                stage(gallery, linear())
        assert discard(gallery) == "v2"
        assert "v2" in gallery.store.schema().names
        assert upgrade(gallery, linear()).column == "v3"

    def test_a_name_that_an_application_uses_again_is_not_dropped(self, address, sql, embeddings, linear):
        gallery, table = make(address, embeddings), table_of(address)
        upgrade(gallery, linear())
        finalize(gallery, drop_base=True)
        sql(f"ALTER TABLE {table} ADD COLUMN v1 text DEFAULT 'mine'")
        finalize(gallery)
        assert sql(f"SELECT count(*) FROM {table} WHERE v1 = 'mine'").fetchone() == (25,)


def adopted(address, sql, kind, ids, transform, more=""):
    """A gallery made from a table that an application filled, and its embeddings."""
    dim = transform.source.dim
    vectors = normalise(np.random.default_rng(1).normal(size=(len(ids), dim)).astype(np.float32))
    table = table_of(address)
    sql(
        f"CREATE TABLE {table} (price numeric, key {kind} PRIMARY KEY, other vector(2), embedding vector({dim}) {more})"
    )
    for key, vector in zip(ids, vectors, strict=True):
        sql(f"INSERT INTO {table} VALUES (1.50, %s, '[1,2]', %s)", key, str(vector.tolist()))
    gallery = adopt(address, id_column="key", vector_column="embedding", space=transform.source)
    return gallery, Embeddings(np.array(ids), vectors, transform.source)


class TestAdopted:
    def test_a_table_of_an_application_is_upgraded_in_its_place(self, address, sql, linear):
        ids, transform = [str(uuid.uuid4()) for _ in range(30)], linear()
        sql(f"CREATE TYPE mood_{table_of(address)} AS ENUM ('good', 'bad')")
        gallery, old = adopted(address, sql, "uuid", ids, transform, more="NOT NULL")
        table = table_of(address)
        sql(
            f"ALTER TABLE {table} ADD COLUMN mood mood_{table} DEFAULT 'good', ADD COLUMN twice numeric "
            "GENERATED ALWAYS AS (price * 2) STORED"
        )
        file = "SELECT pg_relation_filenode(%s::regclass)"
        before = sql(file, table).fetchone()
        report = upgrade(gallery, transform)
        assert report.column == "v2"
        new = transform.apply(old)
        assert gallery.search(new.take(np.array([7])), 1, include=["price", "mood", "twice"]).ids[0, 0] == ids[7]
        row = gallery.store.fetch(pa.array(ids[:1]), ["price", "mood", "twice"]).to_pylist()[0]
        assert (row["price"], row["mood"], row["twice"]) == ("1.50", "good", "3.00")
        assert sql(file, table).fetchone() == before  # the table was never written anew
        sql(f"INSERT INTO {table} (key, v2) SELECT gen_random_uuid(), v2 FROM {table} LIMIT 1")  # embedding may be null
        gallery.delete([str(k) for (k,) in sql(f"SELECT key FROM {table} WHERE embedding IS NULL").fetchall()])
        assert rollback(gallery) == "embedding"
        assert gallery.search(old.take(np.array([7])), 1).ids[0, 0] == ids[7]
        assert discard(gallery) == "v2"
        assert sql(f"SELECT count(*) FROM pg_trigger WHERE tgrelid = '{table}'::regclass").fetchone() == (0,)
        assert sql(f"SELECT count(*) FROM {table} WHERE other = '[1,2]'").fetchone() == (30,)

    def test_rows_are_added_and_replaced_with_payload_of_any_type(self, address, sql, linear):
        gallery, old = adopted(address, sql, "uuid", [str(uuid.uuid4()) for _ in range(5)], linear())
        sql(f"ALTER TABLE {table_of(address)} ADD COLUMN extra jsonb, ADD COLUMN size varchar(5)")
        other = vectors_to_arrow(np.ones((1, 2), np.float32))
        payload = pa.table({"price": ["2.25"], "other": other, "extra": ['{"a": [1]}'], "size": ["big"]})
        fresh = old.take(np.array([0]))
        gallery.add(fresh, payload, replace=True)
        assert gallery.store.fetch(pa.array(fresh.ids), ["price", "extra", "size"]).to_pylist() == [
            {"key": fresh.ids[0], "price": "2.25", "extra": '{"a": [1]}', "size": "big"}
        ]
        with pytest.raises(GalleryError, match="too long"):
            gallery.add(fresh, payload.set_column(3, "size", pa.array(["enormous"])), replace=True)
        with pytest.raises(BictError, match="uuid"):
            gallery.add(Embeddings(np.array(["nobody"]), fresh.vectors, fresh.space), payload)

    def test_the_upgrade_stays_within_its_boundary_over_the_network(self, postgres, embeddings, linear):
        gallery = make(postgres.network_address(f"t_{uuid.uuid4().hex}"), embeddings)
        assert upgrade(gallery, linear()).opened == ()


class TestTrigger:
    def test_a_changed_live_vector_empties_what_was_made_from_it(self, address, sql, embeddings, payload, linear):
        gallery, table = staged(make(address, embeddings, payload), linear()), table_of(address)
        sql(f"UPDATE {table} SET v1 = '[1,0,0,0]' WHERE id = 'image-1'")
        sql(f"UPDATE {table} SET price = 3, v1 = v1 WHERE id = 'image-2'")
        sql(f"UPDATE {table} SET v1 = '[0,1,0,0]', v2 = '[0,1,0,0,0,0]' WHERE id = 'image-3'")
        sql(f"UPDATE {table} SET v2 = '[1,0,0,0,0,0]' WHERE id = 'image-4'")
        assert names(nulls(gallery, "v2")) == {"image-1"}
        with pytest.raises(GalleryError, match=r"1 rows of .* run again"):
            switch(gallery)
        sql(f"UPDATE {table} SET v1 = '[1,0,0,0]' WHERE id IN ('image-3', 'image-4')")
        staged(gallery, linear())
        switch(gallery)
        sql(f"UPDATE {table} SET v2 = '[0,0,0,0,0,1]' WHERE id = 'image-5'")
        assert names(nulls(gallery, "v1")) == {"image-5"}
        assert nulls(gallery, "v2") == set()
        with pytest.raises(GalleryError, match="1 rows have no vector in 'v1'"):
            rollback(gallery)
        assert rollback(gallery, leave_out=True) == "v1"
        sql(f"UPDATE {table} SET v1 = '[1,0,0,0]' WHERE id = 'image-7'")
        assert names(nulls(gallery, "v2")) == {"image-7"}

    def test_a_live_vector_made_from_one_that_changes_is_made_again(self, address, sql, embeddings, linear):
        """An application that has not moved yet goes on writing the column from before the switch."""
        gallery, table = staged(make(address, embeddings), linear()), table_of(address)
        switch(gallery)
        sql(
            f"INSERT INTO {table} (id, v1) VALUES ('image-3', '[0,0,0,1]'), ('image-4', '[1,0,0,0]'), "
            "('late', '[1,0,0,0]') ON CONFLICT (id) DO UPDATE SET v1 = EXCLUDED.v1"
        )
        sql(f"UPDATE {table} SET v1 = v1, label = 'x' WHERE id = 'image-5'")
        assert names(nulls(gallery, "v2")) == {"image-3", "image-4", "late"}
        assert nulls(gallery, "v1") == set()
        assert info(gallery).unserved == 3
        assert len(gallery.search(embeddings(1, linear().target), 100).ids[0]) == 23
        stage(gallery, linear())
        assert nulls(gallery, "v1") == nulls(gallery, "v2") == set()
        expected = linear().apply(gallery.vectors("v1", with_labels=False)).vectors
        np.testing.assert_allclose(gallery.vectors(with_labels=False).vectors, expected, atol=1e-6)

    def test_a_source_that_is_emptied_leaves_what_was_made_from_it(self, address, sql, embeddings, linear):
        gallery, table = staged(make(address, embeddings), linear()), table_of(address)
        switch(gallery)
        sql(f"UPDATE {table} SET v1 = NULL WHERE id = 'image-1'")
        found = gallery.vectors(with_labels=False)
        payload = pa.table({"label": ["a"]})
        gallery.add(Embeddings(found.ids[5:6], found.vectors[5:6], found.space), payload, replace=True)
        assert nulls(gallery, "v2") == set()
        assert names(nulls(gallery, "v1")) == {"image-1", str(found.ids[5])}

    def test_vectors_made_from_several_columns_follow_each_of_them(self, address, sql, embeddings, linear):
        gallery, table, third = *third_generation(address, embeddings, linear), third_transforms(linear)
        assert staged(gallery, third).active_column == "v2"
        sql(f"UPDATE {table} SET v1 = '[0,0,0,1]' WHERE id = 'image-1'")
        sql(f"UPDATE {table} SET v2 = '[0,0,0,0,0,1]' WHERE id = 'image-2'")
        sql(f"UPDATE {table} SET label = 'x' WHERE id = 'image-3'")
        assert {c: names(nulls(gallery, c)) for c in ("v1", "v2", "v3")} == {
            "v1": {"image-2"},
            "v2": {"image-1"},
            "v3": {"image-1", "image-2"},
        }
        with pytest.raises(GalleryError, match=r"2 rows of .* run again"):
            switch(gallery)
        switch(staged(gallery, third))
        assert nulls(gallery, "v3") == set()

    def test_vectors_made_through_another_column_follow_the_first(self, address, sql, embeddings, linear):
        gallery, table = third_generation(address, embeddings, linear)
        switch(staged(gallery, third_transforms(linear)[1]))
        sql(f"UPDATE {table} SET v1 = '[0,0,0,1]' WHERE id = 'image-1'")
        sql(f"UPDATE {table} SET v2 = '[0,0,0,0,0,1]' WHERE id = 'image-2'")
        assert names(nulls(gallery, "v3")) == {"image-1", "image-2"}
        assert names(nulls(gallery, "v1")) == {"image-2"}
        stage(gallery, third_transforms(linear)[1])
        assert names(nulls(gallery, "v3")) == {"image-1"}
        finalize(gallery)  # v2
        sql(f"UPDATE {table} SET v1 = '[0,0,1,0]' WHERE id = 'image-4'")
        assert names(nulls(gallery, "v3")) == {"image-1", "image-4"}

    def test_an_application_that_takes_no_nulls_is_not_stopped(self, address, sql, embeddings, linear):
        gallery, table = staged(make(address, embeddings), linear()), table_of(address)
        sql(f"ALTER TABLE {table} ALTER COLUMN v2 SET NOT NULL")
        switch(gallery)
        sql(f"UPDATE {table} SET v1 = '[0,0,0,1]' WHERE id = 'image-1'")
        assert names(nulls(gallery, "v2")) == {"image-1"}

    def test_filling_the_live_column_leaves_the_vectors_it_is_filled_from(self, address, sql, embeddings, linear):
        gallery, transform = staged(make(address, embeddings), linear()), linear()
        switch(gallery)
        sql(f"INSERT INTO {table_of(address)} (id, v1) VALUES ('late', '[1,0,0,0]')")
        stage(gallery, transform)
        assert nulls(gallery, "v1") == nulls(gallery, "v2") == set()

    def test_it_goes_with_the_last_kept_column(self, address, sql, embeddings, linear):
        gallery, table = staged(make(address, embeddings), linear()), table_of(address)
        count = f"SELECT count(*) FROM pg_trigger WHERE tgrelid = '{table}'::regclass"
        assert sql(count).fetchone() == (1,)
        switch(gallery)
        assert [line for line in finalize(gallery, drop_base=True).copies if "write-ahead log" in line]
        assert sql(count).fetchone() == (0,)
        assert gallery.store.schema().names == ["id", "label", "v2"]

    def test_a_writer_without_pgvector_in_its_search_path_is_served(self, postgres, sql, embeddings, linear):
        sql("DROP SCHEMA IF EXISTS away CASCADE; CREATE SCHEMA away")
        gallery = staged(make(postgres.address("away.items"), embeddings), linear())
        with postgres.connect(options="-c search_path=away") as connection:
            connection.execute("UPDATE items SET v1 = '[1,0,0,0]' WHERE id = 'image-1'")
        assert names(nulls(gallery, "v2")) == {"image-1"}


THIRD = Space(name="third", fingerprint="c" * 16, dim=3)


def third_transforms(linear):
    """From the first space and from the second."""
    return [linear(target=THIRD), linear(source=linear().target, target=THIRD)]


def third_generation(address, embeddings, linear):
    """A gallery whose second column is live, and the name of its table."""
    gallery = make(address, embeddings)
    switch(staged(gallery, linear()))
    return gallery, table_of(address)


class TestConcurrency:
    @pytest.mark.parametrize("change", ["vector", "payload", "deleted", "reborn", "added"])
    def test_rows_that_change_while_their_unit_is_staged(self, address, sql, embeddings, payload, linear, change):
        gallery, table, done = make(address, embeddings, payload), table_of(address), []
        statements = {
            "vector": [f"UPDATE {table} SET v1 = '[1,0,0,0]' WHERE id = 'image-1'"],
            "payload": [f"UPDATE {table} SET price = -1 WHERE id = 'image-1'"],
            "deleted": [f"DELETE FROM {table} WHERE id = 'image-1'"],
            "reborn": [
                f"DELETE FROM {table} WHERE id = 'image-1'",
                f"INSERT INTO {table} (id, v1) VALUES ('image-1', '[1,0,0,0]')",
            ],
            "added": [f"INSERT INTO {table} (id, v1) VALUES ('image-10a', '[1,0,0,0]')"],
        }

        def intrude(rows):
            for statement in statements[change] if not done else []:
                sql(statement)
            done.append(rows)

        transform = linear(before=intrude)
        stage(gallery, transform)
        assert len(transform.batches) == (3 if change in ("payload", "deleted") else 4)
        assert nulls(gallery, "v2") == set()
        old, new = gallery.vectors("v1", with_labels=False), gallery.vectors("v2", with_labels=False)
        np.testing.assert_allclose(new.vectors, linear().apply(old).vectors, atol=1e-6)
        assert verify(gallery, linear()).passed
        if change == "payload":
            assert gallery.store.fetch(pa.array(["image-1"]), ["price"])["price"].to_pylist() == [-1]

    def test_a_live_vector_written_meanwhile_is_not_overwritten(self, address, sql, embeddings, linear):
        gallery, table = staged(make(address, embeddings), linear()), table_of(address)
        switch(gallery)
        sql(f"INSERT INTO {table} (id, v1) VALUES ('late', '[1,0,0,0]')")
        own = "[0,0,0,0,0,1]"
        stage(
            gallery, linear(before=lambda rows: sql(f"UPDATE {table} SET v2 = '{own}' WHERE id IN ('late', 'image-7')"))
        )
        assert sql(f"SELECT count(*) FROM {table} WHERE v2 = '{own}'").fetchone() == (2,)

    def test_a_deadlock_with_a_writer_is_tried_again(self, postgres, address, sql, embeddings, linear):
        gallery, table = make(address, embeddings, unit_rows=25), table_of(address)
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"

        def write():
            with postgres.connect(options="-c deadlock_timeout=10s") as writer, writer.transaction():
                writer.execute(f"UPDATE {table} SET label = 'x' WHERE id = 'image-9'")
                held.set()
                while sql(waiting).fetchone() == (0,):
                    time.sleep(0.01)
                writer.execute(f"UPDATE {table} SET label = 'x' WHERE id = 'image-0'")

        held, writer = threading.Event(), threading.Thread(target=write)
        stage(gallery, linear(before=lambda rows: writer.start() or held.wait(10)))
        writer.join()
        assert verify(gallery, linear()).passed
        assert sql(f"SELECT count(*) FROM {table} WHERE label = 'x'").fetchone() == (2,)

    def test_the_switch_waits_for_a_writer_and_counts_its_rows(self, postgres, address, embeddings, linear):
        gallery, table = staged(make(address, embeddings), linear()), table_of(address)
        with postgres.connect() as writer:
            transaction = writer.transaction()
            transaction.__enter__()
            writer.execute(f"INSERT INTO {table} (id, v1) VALUES ('late', '[1,0,0,0]')")
            later = threading.Timer(0.3, lambda: transaction.__exit__(None, None, None))
            later.start()
            with pytest.raises(GalleryError, match=r"1 rows of .* run again"):
                switch(gallery)
            later.join()
        assert gallery.active_column == "v1"

    def test_the_switch_counts_rows_written_in_the_live_space(self, address, sql, embeddings, linear):
        gallery, table = third_generation(address, embeddings, linear)
        staged(gallery, third_transforms(linear)[0])
        sql(f"INSERT INTO {table} (id, v2) VALUES ('late', '[1,0,0,0,0,0]')")
        with pytest.raises(GalleryError, match=r"1 rows of .* run again"):
            gallery.store.publish(gallery.metadata.switched_to("v3").model_dump_json(), "v3", ["v1", "v2"])
        with pytest.raises(GalleryError, match=r"1 rows of .* run again"):
            switch(gallery)
        assert gallery.active_column == "v2"
        gallery.delete(["late"])
        assert switch(gallery) == "v3"

    @pytest.mark.parametrize("lost", [True, False])
    def test_dropping_a_column_waits_for_a_writer_and_counts_its_rows(
        self, postgres, address, embeddings, linear, lost
    ):
        gallery, table = third_generation(address, embeddings, linear)
        column = "v1" if lost else "v2"
        with postgres.connect() as writer:
            transaction = writer.transaction()
            transaction.__enter__()
            writer.execute(f"INSERT INTO {table} (id, {column}) SELECT 'late', {column} FROM {table} LIMIT 1")
            later = threading.Timer(0.3, lambda: transaction.__exit__(None, None, None))
            later.start()
            if lost:
                with pytest.raises(GalleryError, match=r"1 rows of .* have a vector only in 'v1'"):
                    gallery.store.drop_column("v1", ["v2"])
            else:
                gallery.store.drop_column("v1", ["v2"])
            later.join()
        assert ("v1" in gallery.store.schema().names) == lost
        gallery.store.drop_column("v1", None)
        assert gallery.store.schema().names == ["id", "label", "v2"]

    def test_a_writer_waits_for_the_drop(self, postgres, address, embeddings, linear, monkeypatch):
        gallery, table = third_generation(address, embeddings, linear)
        count, refused = gallery.store._table.count, []

        def write():
            with postgres.connect() as writer:
                try:
                    writer.execute(f"INSERT INTO {table} (id, v1) VALUES ('late', '[1,0,0,0]')")
                except psycopg.errors.UndefinedColumn as error:
                    refused.append(error)

        def counting(condition):
            found = count(condition)
            writing.start()
            writing.join(0.3)
            return found

        writing = threading.Thread(target=write)
        with monkeypatch.context() as patched:
            patched.setattr(gallery.store._table, "count", counting)
            gallery.store.drop_column("v1", ["v2"])
        writing.join()
        assert len(refused) == 1
        assert gallery.store.count_missing([], ["v2"]) == 0

    def test_a_table_in_use_for_long_is_named(self, postgres, address, embeddings, linear, monkeypatch):
        gallery, table = staged(make(address, embeddings), linear()), table_of(address)
        monkeypatch.setattr(pgvector_link, "LOCK_WAIT", "100ms")
        with postgres.connect() as writer, writer.transaction():
            writer.execute(f"UPDATE {table} SET label = 'x' WHERE id = 'image-1'")
            with pytest.raises(
                GalleryError, match=r"is being changed by another session .* run the same command again"
            ):
                switch(gallery)
        switch(gallery)

    def test_units_grow_with_the_gallery(self, address, sql, embeddings, linear):
        gallery, table = make(address, embeddings), table_of(address)
        stage(gallery, linear())
        sql(f"INSERT INTO {table} (id, v1) SELECT 'new-' || n, '[1,0,0,0]' FROM generate_series(1000, 1040) n")
        transform = linear()
        stage(gallery, transform)
        assert [unit.rows for unit in gallery.store.units("v2")] == [10, 10, 10, 10, 10, 10, 6]
        assert max(transform.batches) <= 10

    def test_a_lock_of_a_killed_process_is_gone(self, address, embeddings):
        gallery = make(address, embeddings)
        script = (
            "import sys, time; from bict.gallery.stores import open_store\n"
            f"with open_store({address!r}).locked('an upgrade'):\n    print('held', flush=True); time.sleep(60)"
        )
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=os.environ) as holder:
            assert holder.stdout.readline() == b"held\n"
            with (
                pytest.raises(GalleryError, match=rf"process {holder.pid} on .*: an upgrade"),
                gallery.store.locked("x"),
            ):
                pass
            holder.send_signal(signal.SIGKILL)
        for _ in range(50):
            try:
                with gallery.store.locked("next"):
                    return
            except GalleryError:
                time.sleep(0.1)
        pytest.fail("the lock outlived its process")

    def test_a_server_that_dies_while_a_unit_is_staged(self, embeddings, linear):
        with serving() as server:
            gallery, killed = make(server.address("items"), embeddings), []

            def kill(rows):
                if rows == 10 and not killed:
                    killed.append(server.kill())

            with pytest.raises(GalleryError, match="run the same command again") as caught:
                stage(gallery, linear(before=kill))
            assert "\n" not in str(caught.value)
            with pytest.raises(GalleryError, match="cannot be reached"):
                gallery.store.count()
            server.start()
            transform = linear()
            assert stage(gallery, transform).units_skipped == 1
            assert transform.batches == [10, 5]
            assert verify(gallery, linear()).passed
            gallery.store.close()


class TestErasing:
    @pytest.mark.parametrize("at", [0, 10])
    def test_an_id_erased_while_its_unit_is_staged_is_in_no_note(self, address, sql, embeddings, linear, at):
        gallery, erased = make(address, embeddings), []

        def erase(rows):
            if rows == at and not erased:
                erased.extend(gallery.store._notes.bounds("v2"))
                assert Gallery.open(address).delete(erased) == 2

        stage(gallery, linear(before=erase))
        assert len(erased) == 2
        assert noted(sql, address, erased) == 0
        assert gallery.store.ledger("v2").entries().keys() == {unit.key for unit in gallery.store.units("v2")}
        assert verify(gallery, linear()).passed

    def test_units_are_not_cut_at_an_id_that_is_being_erased(self, address, sql, embeddings, linear, monkeypatch):
        gallery, other = make(address, embeddings), Gallery.open(address)
        stage(gallery, linear())
        erased = gallery.store._notes.bounds("v2")
        for notes in ("bict_units", "bict_ledger"):
            sql(f"DELETE FROM {notes} WHERE gallery = %s", table_of(address))
        forget, begin = other.store._notes.forget_ids, lambda: gallery.store.begin_stage("v2", 6, "cosine")
        beginning = threading.Thread(target=begin)

        def slowly(connection, ids):
            forget(connection, ids)
            beginning.start()
            beginning.join(0.5)

        monkeypatch.setattr(other.store._notes, "forget_ids", slowly)
        assert other.delete(erased) == 2
        beginning.join()
        assert len(gallery.store.units("v2")) == 3
        assert noted(sql, address, erased) == 0


def noted(sql, address, ids):
    """How many of bict's notes about a gallery name one of the ids."""
    table, pattern = table_of(address), "|".join(f'"{value}"' for value in ids)
    found = [
        sql("SELECT 1 FROM bict_units WHERE gallery = %s AND (low = ANY(%s) OR high = ANY(%s))", table, ids, ids),
        sql("SELECT 1 FROM bict_ledger WHERE gallery = %s AND unit || entry ~ %s", table, pattern),
    ]
    return sum(len(rows.fetchall()) for rows in found)


class TestOtherTables:
    """The table that has a gallery's name is another one than the notes are about."""

    def swapped(self, address, sql, old_name=None):
        """An application's table in the place of a gallery's, which is kept under another name or dropped."""
        table, ids = table_of(address), [str(row) for row in range(12)]
        sql(f"ALTER TABLE {table} RENAME TO {old_name}" if old_name else f"DROP TABLE {table}")
        sql(f"CREATE TABLE {table} (id text PRIMARY KEY, embedding vector(4))")
        for value in ids:
            sql(f"INSERT INTO {table} VALUES (%s, '[1,0,0,0]')", value)

    @pytest.mark.parametrize("kept", [True, False])
    def test_a_new_table_is_taken_over_with_fresh_notes(self, address, sql, embeddings, payload, linear, kept):
        gallery, table = make(address, embeddings, payload), table_of(address)
        upgrade(gallery, linear())
        old = f"old_{table}" if kept else None
        self.swapped(address, sql, old)
        with pytest.raises(GalleryError, match="bict gallery adopt") as caught:
            Gallery.open(address)
        assert "\n" not in str(caught.value)
        assert PgvectorStore.open(address).read_metadata() is None
        with pytest.raises(GalleryError, match="bict gallery adopt"):
            gallery.metadata  # noqa: B018 - opened before
        new = adopt(address, id_column="id", vector_column="embedding", space=linear().source)
        assert sql("SELECT count(*) FROM bict_units WHERE gallery = %s", table).fetchone() == (0,)
        assert sql("SELECT unit_rows, arrow FROM bict_galleries WHERE gallery = %s", table).fetchone() == (None, None)
        assert upgrade(new, linear()).column == "v2"
        sql(f"UPDATE {table} SET embedding = '[0,1,0,0]' WHERE id = '3'")
        assert names(nulls(new, "v2")) == {"3"}
        stage(new, linear())
        if kept:
            sql(f"UPDATE {old} SET v1 = '[0,1,0,0]' WHERE id = 'image-3'")
            assert sql(f"SELECT v2 FROM {old} WHERE id = 'image-3'").fetchone() == (None,)
        finalize(new, drop_base=True)
        assert Gallery.open(address).active_column == "v2"

    def test_a_table_that_is_swapped_back_is_the_gallery_again(self, address, sql, embeddings):
        gallery, table = make(address, embeddings), table_of(address)
        self.swapped(address, sql, f"old_{table}")
        assert gallery.store.read_metadata() is None
        sql(f"ALTER TABLE {table} RENAME TO new_{table}; ALTER TABLE old_{table} RENAME TO {table}")
        assert len(Gallery.open(address).vectors()) == 25

    def test_a_vector_column_of_another_width_is_another_table(self, address, sql, linear):
        adopted(address, sql, "text", ["a", "b"], linear())
        table = table_of(address)
        sql(f"DROP TABLE {table}; CREATE TABLE {table} (key text PRIMARY KEY, embedding vector(5))")
        assert PgvectorStore.open(address).read_metadata() is None

    def test_a_restored_table_goes_on(self, postgres, address, sql, embeddings, linear):
        gallery, table = make(address, embeddings), table_of(address)
        stage(gallery, linear())
        before = sql("SELECT relation FROM bict_galleries WHERE gallery = %s", table).fetchone()
        sql(f"CREATE TABLE copy_{table} (LIKE {table} INCLUDING ALL); INSERT INTO copy_{table} SELECT * FROM {table}")
        sql(f"DROP TABLE {table}; ALTER TABLE copy_{table} RENAME TO {table}")
        again = Gallery.open(address)
        assert stage(again, linear()).units_skipped == 3
        switch(staged(again, linear()))
        sql(f"UPDATE {table} SET v1 = '[1,0,0,0]' WHERE id = 'image-1'")
        assert names(nulls(again, "v2")) == {"image-1"}
        assert sql("SELECT relation FROM bict_galleries WHERE gallery = %s", table).fetchone() != before

    def test_a_table_made_anew_without_its_staged_column_is_staged_again(self, address, sql, embeddings, linear):
        gallery, table = make(address, embeddings), table_of(address)
        stage(gallery, linear())
        sql(f"CREATE TABLE copy_{table} AS SELECT id, label, v1 FROM {table}; DROP TABLE {table}")
        sql(f"ALTER TABLE copy_{table} RENAME TO {table}; ALTER TABLE {table} ADD PRIMARY KEY (id)")
        again = Gallery.open(address)
        assert status(again).rows_done == 0
        switch(staged(again, linear()))
        assert nulls(again, "v2") == set()

    def test_a_column_that_an_application_dropped_does_not_end_the_gallery(self, address, sql, embeddings, linear):
        gallery, table = third_generation(address, embeddings, linear)
        sql(f"DROP TRIGGER bict_stale ON {table}; ALTER TABLE {table} DROP COLUMN v1")
        assert Gallery.open(address).active_column == "v2"
        assert len(gallery.vectors()) == 25


class TestIndex:
    def test_searching_keeps_an_index_while_another_is_built(self, address, sql, embeddings):
        gallery, table = make(address, embeddings), table_of(address)
        store = gallery.store
        link = store._link
        name, new = (pgvector_search.index_name(link, "v1", suffix) for suffix in ("", "_new"))
        for metric in ("cosine", "dot", "l2"):
            assert store.build_index("v1", metric).startswith("HNSW")
        sql(f"ALTER INDEX {name} RENAME TO {new}")  # killed before the last step
        store.build_index("v1", "cosine")
        with pytest.raises(psycopg.Error):
            sql(f"CREATE UNIQUE INDEX CONCURRENTLY {new} ON {table} ((label IS NULL))")  # invalid, as a kill leaves it
        store.build_index("v1", "cosine")
        assert pgvector_search.index_of(link, "v1") == "vector"
        found = sql(f"SELECT count(*) FROM pg_indexes WHERE tablename = '{table}'").fetchone()
        assert found == (2,)

    def test_an_index_is_used_and_exact_search_does_without(self, address, sql):
        vectors = np.random.default_rng(0).normal(size=(3000, 16)).astype(np.float32)
        rows = pa.table({"id": pa.array(range(3000)), "v1": vectors_to_arrow(vectors)})
        store = PgvectorStore.create(address, [rows], "{}", unit_rows=5000)
        store.build_index("v1", "l2")
        name = pgvector_search.index_name(store._link, "v1")
        uses = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = %s"
        for exact, used in ((True, 0), (False, 3)):
            store.search("v1", vectors[:3], 5, "l2", exact=exact)
            store.close()
            until = time.monotonic() + 5
            while sql(uses, name).fetchone() != (used,) and time.monotonic() < until:
                time.sleep(0.05)
            assert sql(uses, name).fetchone() == (used,)

    def test_a_second_connection_sees_how_far_an_index_is(self, address, monkeypatch):
        monkeypatch.setattr(pgvector_index, "POLL_SECONDS", 0.001)
        vectors = np.random.default_rng(0).normal(size=(3000, 32)).astype(np.float32)
        rows = pa.table({"id": pa.array(range(3000)), "v1": vectors_to_arrow(vectors)})
        store, told = PgvectorStore.create(address, [rows], "{}", unit_rows=5000), []
        store.build_index("v1", "l2", lambda *call: told.append(call))
        shares = [done for done, _ in told]
        assert len(set(shares)) > 5
        assert shares == sorted(shares)
        assert {total for _, total in told} == {100}
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%pg_stat_progress%%' AND pid <> %s"
        until = time.monotonic() + 5
        while store._link.one("counting", sessions, [0]) > 1 and time.monotonic() < until:
            time.sleep(0.05)
        assert store._link.one("counting", sessions, [0]) == 1  # this one itself

    def test_an_index_is_built_where_nobody_may_watch(self, address, embeddings, monkeypatch):
        store, told = make(address, embeddings).store, []
        monkeypatch.setattr(pgvector_index, "POLL_SECONDS", 0)
        monkeypatch.setattr(pgvector_index, "BUILDING", "SELECT 1 FROM nothing_of_this_name")
        assert store.build_index("v1", "l2", lambda *call: told.append(call)).startswith("HNSW")
        assert told == [(100, 100)]

    def test_many_queries_find_what_few_find(self, address, embeddings):
        gallery = make(address, embeddings)
        queries = embeddings(20, start=100)
        many = gallery.search(queries, 5)
        for start in (0, 10):
            few = gallery.search(queries.take(np.arange(start, start + 10)), 5)
            assert few.ids.tolist() == many.ids[start : start + 10].tolist()
            np.testing.assert_allclose(few.similarities, many.similarities[start : start + 10], atol=1e-6)

    def test_no_vectors_give_no_hits(self, address, embeddings):
        store = make(address, embeddings).store
        store.begin_stage("v2", 3, "dot")
        assert store.search("v2", np.ones((2, 3), np.float32), 4, "dot").ids.shape == (2, 0)


def test_a_vector_index_on_the_table_is_mentioned_before_anything_is_staged(address, embeddings):
    gallery = make(address, embeddings)
    assert gallery.store.advice() == []
    gallery.store.build_index("v1", "cosine")
    assert "staging writes each row into the vector index bict_hnsw_" in gallery.store.advice()[0]


def test_erased_vectors_are_in_no_file_of_the_table_after_finalize(address, postgres, sql, linear):
    """The write-ahead log still has them, which finalize says."""
    space = linear().source.model_copy(update={"dim": 64})
    transform = linear(source=space, target=linear().target.model_copy(update={"dim": 64}))
    vectors = normalise(np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32))
    gallery = Gallery.create(address, Embeddings(np.arange(40), vectors, space), unit_rows=10)
    upgrade(gallery, transform)
    erased = [vectors[7].tobytes(), gallery.vectors().vectors[7].tobytes()]

    def files_holding():
        sql("CHECKPOINT")
        data = postgres.folder / "data" / "base"
        found = [path.read_bytes() for path in data.rglob("*") if path.is_file() and path.stat().st_size]
        return [sum(vector in content for content in found) for vector in erased]

    assert min(files_holding()) > 0
    assert gallery.delete([7]) == 1
    copies = finalize(gallery, drop_base=True).copies
    assert files_holding() == [0, 0]
    assert any("log" in place for place in copies)
    assert len(gallery.vectors()) == 39
