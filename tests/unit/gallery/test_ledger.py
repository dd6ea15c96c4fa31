import pytest

from bict.errors import GalleryError
from bict.gallery.ledger import FILE, Entry, FileLedger


def entry(number):
    digest = f"{number}" * 64
    return Entry(unit=f"{number}-x", rows=10, sha256=digest, source_sha256=digest, receipt=f"file-{number}")


def begun(folder, *numbers):
    ledger = FileLedger(folder / FILE)
    for number in numbers:
        ledger.record(entry(number))
    return ledger


def test_entries_are_there_after_reopening_and_the_newest_of_a_unit_counts(tmp_path):
    begun(tmp_path / "v2", 1, 2)
    again = FileLedger(tmp_path / "v2" / FILE)
    assert again.entries() == {"1-x": entry(1), "2-x": entry(2)}
    newer = entry(1).model_copy(update={"receipt": "other"})
    again.record(newer)
    assert again.entries() == {"1-x": newer, "2-x": entry(2)}


@pytest.mark.parametrize("lost", range(1, 500, 13))
def test_a_line_cut_short_at_any_place_is_forgotten_and_written_again(tmp_path, lost):
    path = begun(tmp_path, 1, 2).path
    whole = path.read_bytes()
    path.write_bytes(whole[:-lost])
    complete = whole[:-lost].count(b"\n")
    ledger = FileLedger(path)
    assert len(ledger.entries()) == complete
    for number in range(complete + 1, 3):
        ledger.record(entry(number))
    assert path.read_bytes() == whole


def test_no_ledger_is_an_empty_one_and_damage_in_the_middle_is_refused(tmp_path):
    assert FileLedger(tmp_path / "nowhere" / FILE).entries() == {}
    path = begun(tmp_path, 1, 2).path
    path.write_bytes(path.read_bytes().replace(b'"rows":10', b'"rows":-1', 1))
    with pytest.raises(GalleryError, match="is damaged: discard"):
        FileLedger(path).entries()
