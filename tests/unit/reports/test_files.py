from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field

from bict.errors import RunError
from bict.reports.files import load_model, save_model, write_text


class Note(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_: int = Field(default=1, validation_alias="schema", serialization_alias="schema")
    value: float | None = None


def test_a_written_file_replaces_the_old_one_and_leaves_no_part(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    assert write_text("first", path) == path
    write_text("sécond", path)
    assert path.read_text(encoding="utf-8") == "sécond"
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]


def test_a_failed_write_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_text("kept", tmp_path / "page.html")

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(RunError, match="No space left on device"):
        write_text("lost", path)
    assert path.read_text() == "kept"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unwritable_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write") as refusal:
        write_text("x", tmp_path / "file" / "page.html")
    assert "\n" not in str(refusal.value)


def test_nan_becomes_null(tmp_path: Path) -> None:
    path = save_model(Note(value=math.inf), tmp_path / "note.json")
    assert json.loads(path.read_text()) == {"schema": 1, "value": None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema": 2}', "schema 2, this version of bict reads 1"),
        ('{"schema": "1"}', "schema '1'"),
        ('{"schema": true}', "schema True"),
        ("{}", "schema None"),
        ("[1]", "schema None"),
        ('{"schema": 1, "val', "no complete JSON"),
        ("", "no complete JSON"),
        ('{"schema": 1, "surprise": 3}', "surprise"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "note.json"
    path.write_text(text)
    with pytest.raises(RunError, match=message) as refusal:
        load_model(Note, path, schema=1)
    assert "\n" not in str(refusal.value)


def test_bytes_that_are_no_text_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "note.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunError, match="no complete JSON"):
        load_model(Note, tmp_path / "note.json", schema=1)
    with pytest.raises(RunError, match="No such file"):
        load_model(Note, tmp_path / "none.json", schema=1)
