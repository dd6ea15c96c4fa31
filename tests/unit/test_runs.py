from __future__ import annotations

import json

import pytest

from bict.errors import RunError
from bict.runs import FILE, claim, write_json

SETTINGS = {"data": "glyphs", "images": 30, "plan": {"seed": 0, "old": {"epochs": (4, 2), "dim": None}}}


def changed(**plan: object) -> dict[str, object]:
    return {**SETTINGS, "plan": {**SETTINGS["plan"], **plan}}


def test_a_new_directory_is_claimed_and_stays_claimed(tmp_path):
    run = tmp_path / "runs" / "first"
    claim(run, SETTINGS)
    assert json.loads((run / FILE).read_text()) == json.loads(json.dumps(SETTINGS))
    (run / "model.safetensors").write_bytes(b"x")
    before = (run / FILE).stat().st_mtime_ns
    claim(run, SETTINGS)
    assert (run / FILE).stat().st_mtime_ns == before


def test_an_empty_directory_may_be_claimed(tmp_path):
    claim(tmp_path, SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_claim_killed_before_its_end_may_be_made_again(tmp_path):
    left = tmp_path / f"17-{FILE}.part"
    left.write_text('{"data": "gly')
    claim(tmp_path, SETTINGS)
    assert {path.name for path in tmp_path.iterdir()} == {FILE, left.name}


@pytest.mark.parametrize(
    ("asked", "difference"),
    [
        ({**SETTINGS, "data": "omniglot"}, "data = 'glyphs', not 'omniglot'"),
        ({**SETTINGS, "more": 1}, "more = None, not 1"),
        ({"images": 30, "plan": SETTINGS["plan"]}, "data = 'glyphs', not None"),
        (changed(seed=1), "plan.seed = 0, not 1"),
        (changed(old={"epochs": [4, 3], "dim": None}), "plan.old.epochs = [4, 2], not [4, 3]"),
        (changed(old=None), "plan.old = {'dim': None, 'epochs': [4, 2]}, not None"),
        (changed(old={"epochs": [4, 2]}), "other settings"),
    ],
)
def test_another_configuration_is_refused_and_the_difference_named(tmp_path, asked, difference):
    claim(tmp_path, SETTINGS)
    with pytest.raises(RunError) as caught:
        claim(tmp_path, asked)
    message = str(caught.value)
    assert message == f"{tmp_path} holds a run with {difference}: choose another --out, or delete it"
    claim(tmp_path, SETTINGS)


def test_a_directory_of_other_files_is_refused_and_left_as_it_was(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(RunError, match="holds files of something else: choose another --out"):
        claim(tmp_path, SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"null"])
def test_damaged_settings_are_refused(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(RunError, match=f"{FILE} is damaged: delete {tmp_path}, or choose another --out"):
        claim(tmp_path, SETTINGS)


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        with pytest.raises(RunError) as caught:
            claim(place, SETTINGS)
        assert str(caught.value).startswith(f"{place} cannot be written (")
        assert str(caught.value).endswith("): choose another --out")


def test_settings_that_are_a_folder_are_refused(tmp_path):
    (tmp_path / FILE).mkdir()
    with pytest.raises(RunError, match="cannot be written"):
        claim(tmp_path, SETTINGS)


def test_json_is_written_whole_sorted_and_without_leftovers(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"b": [1, 2.5, None], "a": "é"})
    assert path.read_text() == '{\n  "a": "\\u00e9",\n  "b": [\n    1,\n    2.5,\n    null\n  ]\n}\n'
    write_json(path, [])
    assert json.loads(path.read_text()) == []
    assert [file.name for file in tmp_path.iterdir()] == ["x.json"]


def test_content_that_is_no_json_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
