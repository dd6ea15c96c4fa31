from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bict.data.images import FilePixels, ImageSet, photo_problem, quiet_decoding, read_photo
from bict.errors import DataError

RED, BLUE, WHITE = [255, 0, 0], [0, 0, 255], [255, 255, 255]


def two_halves(width: int = 16, height: int = 16) -> Image.Image:
    """Red above blue."""
    image = Image.new("RGB", (width, height), tuple(RED))
    image.paste(tuple(BLUE), (0, height // 2, width, height))
    return image


# --- sets -----------------------------------------------------------------------------------------------------------


def test_a_set_gives_the_pixels_of_its_images(image_set):
    images = image_set("aabbcc")
    assert len(images) == 6
    assert images.classes() == ["a", "b", "c"]
    assert images.pixels(np.array([4, 1]), 8, 1)[:, 0, 0, 0].tolist() == [4, 1]


@pytest.mark.parametrize("index", [np.array([5, 0, 3]), [5, 0, 3], np.array([-1, 0, 3])])
def test_taking_keeps_order_and_carries_every_column(image_set, index):
    images = image_set("aabbcc", ["train", "", "", "gallery", "", "query"])
    taken = images.take(index)
    assert taken.ids.tolist() == ["image-005", "image-000", "image-003"]
    assert taken.labels.tolist() == ["c", "a", "b"]
    assert taken.parts.tolist() == ["query", "train", "gallery"]
    assert taken.pixels(np.arange(3), 8, 1)[:, 0, 0, 0].tolist() == [5, 0, 3]
    assert (taken.name, taken.kind, taken.source) == (images.name, images.kind, images.source)


def test_taking_by_a_mask_reads_the_right_pixels(image_set):
    taken = image_set("aabbcc").take(np.array([False, True, False, False, True, True]))
    assert taken.ids.tolist() == ["image-001", "image-004", "image-005"]
    assert taken.pixels(np.arange(3), 8, 1)[:, 0, 0, 0].tolist() == [1, 4, 5]


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), max_size=6), st.data())
def test_taking_twice_is_taking_once(first, data):
    from_ids = np.array([f"image-{row}" for row in range(6)])
    source = FilePixels([])
    images = ImageSet("made", "photos", from_ids, from_ids, from_ids, source)
    second = data.draw(st.lists(st.integers(0, len(first) - 1), max_size=4)) if first else []
    once = np.array(first, dtype=np.int64)
    twice = images.take(once).take(np.array(second, dtype=np.int64))
    expected = [first[row] for row in second]
    assert twice.ids.tolist() == [f"image-{row}" for row in expected]
    assert twice.rows.tolist() == expected


# --- photos ---------------------------------------------------------------------------------------------------------


def test_the_short_side_is_scaled_and_the_centre_cut_out(tmp_path):
    image = Image.new("RGB", (60, 20), tuple(RED))
    image.paste(tuple(BLUE), (20, 0, 40, 20))
    image.save(tmp_path / "wide.png")
    assert (read_photo(tmp_path / "wide.png", 20) == BLUE).all()
    assert (read_photo(tmp_path / "wide.png", 10) == BLUE)[:, 1:-1].all()


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.tif", "x.gif", "x.ppm", "x.webp", "x.jpg"])
def test_every_format_gives_the_picture(tmp_path, name):
    two_halves().save(tmp_path / name)
    pixels = read_photo(tmp_path / name, 16).astype(int)
    assert pixels.shape == (16, 16, 3)
    np.testing.assert_allclose(pixels[2, 8], RED, atol=12)
    np.testing.assert_allclose(pixels[13, 8], BLUE, atol=12)


@pytest.mark.parametrize(
    ("orientation", "red_side"),
    [(1, "top"), (2, "top"), (3, "bottom"), (4, "bottom"), (5, "left"), (6, "right"), (7, "right"), (8, "left")],
)
def test_a_turned_photo_is_read_upright(tmp_path, orientation, red_side):
    exif = Image.Exif()
    exif[0x0112] = orientation
    two_halves().save(tmp_path / "turned.png", exif=exif)
    pixels = read_photo(tmp_path / "turned.png", 16)
    places = {"top": (2, 8), "bottom": (13, 8), "left": (8, 2), "right": (8, 13)}
    assert pixels[places[red_side]].tolist() == RED


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_shows_white(tmp_path, mode):
    image = two_halves().convert("RGBA")
    image.putalpha(Image.fromarray(np.repeat([[255], [0]], 8, axis=0).repeat(16, axis=1).astype(np.uint8)))
    (image.quantize() if mode == "P" else image.convert(mode)).save(tmp_path / "x.png")
    pixels = read_photo(tmp_path / "x.png", 16)
    assert pixels[13, 8].tolist() == WHITE
    assert pixels[2, 8].tolist() != WHITE


def test_half_transparent_is_half_white(tmp_path):
    Image.new("RGBA", (8, 8), (0, 0, 0, 128)).save(tmp_path / "x.png")
    np.testing.assert_allclose(read_photo(tmp_path / "x.png", 8), 127, atol=1)


def test_a_palette_with_transparent_entries_does_not_warn(tmp_path):
    image = Image.new("P", (8, 8), 3)
    image.putpalette([value for entry in range(256) for value in (entry, 0, 0)])
    image.save(tmp_path / "x.png", transparency=bytes(range(256)))
    assert read_photo(tmp_path / "x.png", 8)[0, 0].tolist() == [252, 252, 252]


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, name):
    ramp = np.tile(np.linspace(0, 65535, 32).astype(np.uint16), (32, 1))
    Image.fromarray(ramp).save(tmp_path / name)
    np.testing.assert_array_equal(read_photo(tmp_path / name, 32, 1)[..., 0], ramp >> 8)
    np.testing.assert_array_equal(read_photo(tmp_path / name, 32, 3)[..., 1], ramp >> 8)


def test_thirty_two_bits_count_as_sixteen(tmp_path):
    Image.fromarray(np.full((8, 8), 32768, np.int32)).save(tmp_path / "x.tif")
    assert (read_photo(tmp_path / "x.tif", 8) == 128).all()


@pytest.mark.parametrize("mode", ["L", "1", "CMYK", "YCbCr"])
def test_other_modes_become_rgb_or_grey(tmp_path, mode):
    name = "x.jpg" if mode in {"CMYK", "YCbCr"} else "x.png"
    Image.new("RGB", (8, 8), "white").convert(mode).save(tmp_path / name)
    assert (read_photo(tmp_path / name, 8, 3) >= 254).all()
    assert (read_photo(tmp_path / name, 8, 1) >= 254).all()


def test_grey_is_the_luma_of_the_colour(tmp_path):
    Image.new("RGB", (8, 8), (200, 100, 50)).save(tmp_path / "x.png")
    assert (read_photo(tmp_path / "x.png", 8, 1) == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)).all()


def test_photos_are_never_turned_or_cut_by_their_draft_size(tmp_path):
    """A JPEG may be decoded at a fraction of its size; the picture stays the same."""
    two_halves(640, 640).save(tmp_path / "x.jpg", quality=95)
    two_halves(640, 640).save(tmp_path / "x.png")
    small, exact = (read_photo(tmp_path / name, 32).astype(int) for name in ("x.jpg", "x.png"))
    assert np.abs(small - exact).mean() < 4


# --- what cannot be read --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "halves"),
    [
        ((0, 0, 320, 160), "red"),
        ((0, 160, 320, 320), "blue"),
        ((-50.5, 159.6, 9999, 9999.9), "blue"),  # clipped to the image
        ((300.4, -3, 301.2, 3), "red"),  # rounded to columns 300 to 301
    ],
)
@pytest.mark.parametrize("size", [8, 160])
def test_a_box_is_cut_out_of_the_whole_picture(tmp_path, box, halves, size):
    """Also where a JPEG is decoded at a smaller scale without a box."""
    two_halves(320, 320).save(tmp_path / "x.jpg", subsampling=0, quality=95)
    pixels = read_photo(tmp_path / "x.jpg", size, box=box).astype(int)
    np.testing.assert_allclose(pixels.reshape(-1, 3), [RED if halves == "red" else BLUE] * size**2, atol=12)
    assert photo_problem(tmp_path / "x.jpg", box) == ""


def test_a_box_is_given_in_the_stored_picture_and_shown_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    two_halves(32, 32).save(tmp_path / "turned.png", exif=exif)
    pixels = read_photo(tmp_path / "turned.png", 16, box=(0, 8, 16, 24))
    assert (pixels[8, 2].tolist(), pixels[8, 13].tolist()) == (BLUE, RED)
    assert (read_photo(tmp_path / "turned.png", 16, box=(0, 0, 32, 16)) == RED).all()


@pytest.mark.parametrize("box", [(16, 0, 20, 8), (0, -9, 8, 0), (3, 3, 3.4, 8), (8, 0, 2, 8)])
def test_a_box_without_any_pixel_is_a_problem_of_the_photo(tmp_path, box):
    two_halves().save(tmp_path / "x.png")
    assert photo_problem(tmp_path / "x.png", box) == f"its box {box} holds no pixel of 16x16"
    with pytest.raises(DataError, match="holds no pixel of 16x16"):
        read_photo(tmp_path / "x.png", 8, box=box)


def test_only_the_rows_with_a_box_are_cropped(tmp_path):
    two_halves().save(tmp_path / "x.png")
    source = FilePixels([tmp_path / "x.png"] * 2, boxes={1: (0, 8, 16, 16)})
    pixels = source.read(np.array([1, 0, 1]), 8, 3)
    assert (pixels[[0, 2]] == BLUE).all()
    assert pixels[1][0, 4].tolist() == RED


@pytest.fixture
def broken(tmp_path):
    """Files that cannot be read, by name, with the reason that must be given."""
    whole = tmp_path / "whole.jpg"
    Image.effect_noise((64, 64), 90).save(whole)
    (tmp_path / "cut.jpg").write_bytes(whole.read_bytes()[:-600])
    Image.effect_noise((64, 64), 90).save(tmp_path / "wave.jpg", progressive=True)
    (tmp_path / "cut-progressive.jpg").write_bytes((tmp_path / "wave.jpg").read_bytes()[:1500])
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "empty.png").write_bytes(b"")
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "float.tif")
    names = ["cut.jpg", "cut-progressive.jpg", "text.jpg", "empty.png", "float.tif"]
    (tmp_path / "folder.png").mkdir()
    return {tmp_path / name: "truncated or no image" for name in [*names, "folder.png"]} | {
        tmp_path / "gone.png": "no such file"
    }


def test_an_unreadable_photo_is_refused_in_one_line(broken):
    for path, reason in broken.items():
        assert photo_problem(path) == reason, path
        with pytest.raises(DataError) as caught:
            read_photo(path, 16)
        assert str(caught.value) == f"{path} cannot be read as an image: {reason}"


def test_a_good_photo_has_no_problem(tmp_path):
    two_halves().save(tmp_path / "x.jpg")
    assert photo_problem(tmp_path / "x.jpg") == ""


@pytest.mark.parametrize("side", [40, 60])
def test_a_photo_of_too_many_pixels_is_unreadable(tmp_path, monkeypatch, side):
    """Pillow warns above its limit and refuses above twice the limit; here both are a refusal, and neither warns."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    two_halves(side, side).save(tmp_path / "bomb.png")
    two_halves(30, 30).save(tmp_path / "good.png")
    with quiet_decoding():
        assert photo_problem(tmp_path / "bomb.png") == "more than 1000 pixels"
        assert photo_problem(tmp_path / "good.png") == ""
    with pytest.raises(DataError, match="more than 1000 pixels"):
        FilePixels([tmp_path / "bomb.png"]).read(np.array([0]), 8, 3)


def test_reading_leaves_the_warning_filters_as_they_were(tmp_path):
    two_halves().save(tmp_path / "x.png")
    before = list(warnings.filters)
    FilePixels([tmp_path / "x.png"] * 8).read(np.arange(8), 8, 3)
    assert warnings.filters == before


def encode(name: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    two_halves().save(buffer, name, **({} if name in {"GIF", "BMP", "PPM"} else {"exif": exif}))
    return buffer.getvalue()


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "PPM"]), data=st.data())
def test_a_damaged_photo_is_read_or_refused_but_never_warns(tmp_path_factory, name, data):
    content = bytearray(encode(name))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.bin"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    refusal = ""
    try:
        assert FilePixels([path]).read(np.array([0]), 8, 3).shape == (1, 8, 8, 3)
    except DataError as error:
        refusal = str(error)
    assert "\n" not in refusal
