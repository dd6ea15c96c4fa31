from pathlib import Path

import pytest

from bict.errors import GalleryError
from bict.gallery import Gallery, discard, stage, switch


def test_switching_is_one_new_version_and_keeps_the_old_column(gallery, linear):
    stage(gallery, linear())
    versions = Path(gallery.address, "vectors.lance/_versions")
    before = len(list(versions.glob("*.manifest")))
    switch(gallery, "v2")
    assert len(list(versions.glob("*.manifest"))) == before + 1
    again = Gallery.open(gallery.address)
    assert again.active_space == linear().target
    assert again.metadata.columns["v1"].state == "kept"
    assert len(again.vectors("v1")) == 25


@pytest.mark.parametrize(("column", "state"), [("v1", "live"), ("v2", "absent"), ("../v1", "absent")])
def test_only_a_staged_column_is_switched_to_or_discarded(gallery, column, state):
    for change in (switch, discard):
        with pytest.raises(GalleryError, match=f"is {state}, expected a staged column"):
            change(gallery, column)
    assert gallery.store.schema().names[-1] == "v1"


def test_a_discarded_column_is_gone_and_may_be_staged_by_another_transform(gallery, linear):
    stage(gallery, linear())
    discard(gallery, "v2")
    assert list(gallery.spaces) == ["v1"]
    assert "v2" not in gallery.store.schema().names
    assert not Path(gallery.address, "upgrades/v2").exists()
    assert stage(gallery, linear(seed=1)).column == "v2"
