import numpy as np
import pyarrow as pa
import pytest
import torch

from bict.embeddings import Embeddings, normalise
from bict.errors import GalleryError, SettingsError, TransformError
from bict.gallery import Gallery, upgrade, verify
from bict.spaces import Space
from bict.transforms import FCT, Pairs, ResidualMLP, Ridge, Transform
from bict.transforms.precision import PRECISIONS

OLD, NEW = Space(name="old", fingerprint="a" * 16, dim=24), Space(name="new", fingerprint="b" * 16, dim=16)


def unit(rows, dim, seed):
    return normalise(np.random.default_rng(seed).standard_normal((rows, dim), np.float32))


def fitted(rung):
    return Transform(rung.fit(Pairs(unit(300, 24, 0)[None], unit(300, 16, 1)[None])), OLD, NEW)


@pytest.fixture(params=[ResidualMLP(epochs=3, hidden=32), FCT(epochs=2, inner=32)], ids=["mlp", "fct"])
def transform(request):
    return fitted(request.param)


@pytest.mark.parametrize(("precision", "least"), [("bfloat16", 0.999), ("float16", 0.99999)])
def test_less_precision_gives_nearly_the_same_vectors_in_float32_and_another_digest(transform, precision, least):
    rows = Embeddings(np.arange(50), unit(50, 24, 2), OLD)
    exact = transform.apply(rows).vectors
    other = transform.at(precision)
    found = other.apply(rows).vectors
    assert found.dtype == np.float32
    assert not np.array_equal(found, exact)
    assert np.einsum("ij,ij->i", found, exact).min() > least
    assert other.digest != transform.digest
    assert other.digest == transform.at(precision).digest
    assert (other.precision, other.exact, transform.exact) == (precision, transform, transform)


def test_the_transform_it_was_made_from_stays_as_it_is(transform):
    rows = Embeddings(np.arange(50), unit(50, 24, 2), OLD)
    before = transform.apply(rows).vectors
    transform.at("bfloat16").apply(rows)
    assert np.array_equal(transform.apply(rows).vectors, before)
    assert transform.at("float32") is transform
    assert {weight.dtype for weight in transform.rung.weights_.values()} == {torch.float32}


def test_what_cannot_be_computed_or_saved_is_refused(transform, tmp_path):
    with pytest.raises(SettingsError, match=rf"found precision 'half', expected {', '.join(PRECISIONS)}"):
        transform.at("half")
    with pytest.raises(SettingsError, match="ridge has no network to compute in bfloat16: leave --precision out"):
        fitted(Ridge()).at("bfloat16")
    for write in (transform.at("bfloat16").save, transform.at("bfloat16").to_onnx):
        with pytest.raises(TransformError, match="computes in bfloat16: write the one it was made from"):
            write(tmp_path / "psi")
    assert not (tmp_path / "psi").exists()


def test_a_gallery_is_upgraded_verified_and_gone_on_with_in_less_precision(transform, tmp_path):
    gallery = Gallery.create(tmp_path / "g", Embeddings(np.arange(90), unit(90, 24, 2), OLD), unit_rows=40)
    rounded = transform.at("bfloat16")
    report = upgrade(gallery, rounded, sample=50)
    assert report.verified.passed
    assert report.staged.rounded
    found = gallery.store.fetch(pa.array([7]), ["v2"])["v2"][0].values.to_numpy()
    assert np.array_equal(found, rounded.apply(Embeddings(np.arange(90), unit(90, 24, 2), OLD)).vectors[7])
    assert upgrade(gallery, rounded).already_upgraded
    with pytest.raises(GalleryError, match="or name the --precision it was staged in"):
        verify(gallery, transform)
