import pytest

from bict.errors import GalleryError
from bict.gallery.ledger import Entry, Header, Ledger

HEADER = Header(column="v2", source="v1", transform="d" * 64)


def entry(number):
    return Entry(unit=f"{number}-x", rows=10, sha256=f"{number}" * 64, receipt=f"file-{number}")


def begun(folder, *numbers):
    ledger = Ledger.open(folder, HEADER)
    for number in numbers:
        ledger.record(entry(number))
    return ledger


def test_entries_are_there_after_reopening(tmp_path):
    begun(tmp_path / "v2", 1, 2)
    assert Ledger.read(tmp_path / "v2").entries == {"1-x": entry(1), "2-x": entry(2)}
    assert Ledger.open(tmp_path / "v2", HEADER).header == HEADER


@pytest.mark.parametrize("lost", range(1, 200, 7))
def test_a_line_cut_short_at_any_place_is_forgotten_and_written_again(tmp_path, lost):
    path = begun(tmp_path, 1, 2).path
    whole = path.read_bytes()
    path.write_bytes(whole[:-lost])
    complete = whole[:-lost].count(b"\n") - 1
    assert len(Ledger.read(tmp_path).entries) == complete
    ledger = Ledger.open(tmp_path, HEADER)
    assert len(ledger.entries) == complete
    for number in range(complete + 1, 3):
        ledger.record(entry(number))
    assert path.read_bytes() == whole


def test_a_cut_header_starts_afresh(tmp_path):
    path = begun(tmp_path).path
    path.write_bytes(path.read_bytes()[:20])
    assert Ledger.open(tmp_path, HEADER).entries == {}


def test_the_ledger_of_another_transform_is_refused(tmp_path):
    begun(tmp_path, 1)
    with pytest.raises(GalleryError, match=r"begun with transform dddddddddddd.*discard column 'v2'"):
        Ledger.open(tmp_path, HEADER.model_copy(update={"transform": "e" * 64}))


def test_damage_in_the_middle_and_a_missing_ledger_are_refused(tmp_path):
    path = begun(tmp_path, 1, 2).path
    path.write_bytes(path.read_bytes().replace(b'"rows":10', b'"rows":-1', 1))
    with pytest.raises(GalleryError, match="is damaged"):
        Ledger.read(tmp_path)
    with pytest.raises(GalleryError, match="no ledger"):
        Ledger.read(tmp_path / "v9")
