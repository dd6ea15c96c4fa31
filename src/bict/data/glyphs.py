"""Characters rendered from the fonts that matplotlib ships: a real retrieval set that needs no download.

A class is a character, an image is that character in one of 16 faces, slightly turned, scaled and shifted.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import PIL
from matplotlib.ft2font import FT2Font
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, features
from platformdirs import user_cache_path

from bict.arrays import read_arrays
from bict.data.images import ArrayPixels, ImageSet
from bict.spaces import fingerprint

SIZE = 32
FONT_SIZE = 22
MIN_FACES = 12
RECIPE = "2"
STYLES = {
    "DejaVuSans": ("", "-Bold", "-Oblique", "-BoldOblique"),
    "DejaVuSansMono": ("", "-Bold", "-Oblique", "-BoldOblique"),
    "DejaVuSerif": ("", "-Bold", "-Italic", "-BoldItalic"),
    "STIXGeneral": ("", "Bol", "Italic", "BolIta"),
}
DRAWABLE = {"L", "N", "P", "S"}
Progress = Callable[[int, int], None]


def load_glyphs(seed: int = 0, progress: Progress | None = None, cache: Path | None = None) -> ImageSet:
    """The glyphs of a seed, from the cache folder or rendered and cached; the same bytes for the same seed.

    About 2,200 classes and 30,000 images of 32x32, ink bright on black.
    """
    folder = cache or user_cache_path("bict")
    freetype = str(features.version("freetype2"))
    versions = "|".join([RECIPE, str(seed), mpl.__version__, PIL.__version__, freetype])
    path = folder / f"glyphs-{fingerprint(versions.encode())[:12]}.npz"
    stored = _read_cache(path)
    if stored is None:
        stored = render_glyphs(seed, progress)
        _write_cache(path, *stored)
    images, ids = stored
    labels = np.array([name.split("/")[0] for name in ids])
    return ImageSet("glyphs", "characters", ids, labels, np.full(len(ids), "", "U1"), ArrayPixels(images))


def render_glyphs(seed: int, progress: Progress | None = None) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Images `(images, 32, 32)` uint8 and their ids `U+0041/DejaVuSans-Bold`, sorted by character, then face."""
    faces = font_faces()
    characters = _characters(faces)
    layout = ImageFont.Layout.BASIC  # the same bytes whether or not a text-shaping library is installed
    fonts = {name: ImageFont.truetype(str(path), FONT_SIZE, layout_engine=layout) for name, path in faces.items()}
    clean: dict[int, dict[str, NDArray[np.uint8]]] = {}
    for done, (code, names) in enumerate(characters.items(), 1):
        drawn = {name: _draw(chr(code), fonts[name]) for name in names}
        clean[code] = {name: image for name, image in drawn.items() if image.max() > 0}
        if progress is not None and (done % 64 == 0 or done == len(characters)):
            progress(done, len(characters))
    kept = _drop_lookalikes({code: images for code, images in clean.items() if len(images) >= MIN_FACES})
    ids = [f"U+{code:04X}/{name}" for code, images in kept.items() for name in images]
    stacked = np.stack([image for images in kept.values() for image in images.values()])
    return _jitter(stacked, seed), np.array(ids)


def font_faces() -> dict[str, Path]:
    """The 16 faces by name."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    return {family + style: folder / f"{family}{style}.ttf" for family, styles in STYLES.items() for style in styles}


def _characters(faces: dict[str, Path]) -> dict[int, list[str]]:
    """Drawable characters present in at least `MIN_FACES` faces, with the names of those faces."""
    found: dict[int, list[str]] = {}
    for name, path in faces.items():
        for code in FT2Font(str(path)).get_charmap():
            found.setdefault(int(code), []).append(name)
    return {
        code: names
        for code, names in sorted(found.items())
        if len(names) >= MIN_FACES and unicodedata.category(chr(code))[0] in DRAWABLE
    }


def _draw(character: str, font: ImageFont.FreeTypeFont) -> NDArray[np.uint8]:
    """One character, centred in its line box, `(32, 32)` uint8; size and height on the line are kept."""
    image = Image.new("L", (SIZE, SIZE))
    ImageDraw.Draw(image).text((SIZE / 2, SIZE / 2), character, fill=255, font=font, anchor="mm")
    return np.asarray(image)


def _drop_lookalikes(clean: dict[int, dict[str, NDArray[np.uint8]]]) -> dict[int, dict[str, NDArray[np.uint8]]]:
    """Leave out a character drawn with the same bitmaps as an earlier one in half of the faces, such as a Greek A."""
    drawn_by: dict[tuple[str, bytes], list[int]] = {}
    kept: dict[int, dict[str, NDArray[np.uint8]]] = {}
    for code, images in clean.items():
        keys = [(name, image.tobytes()) for name, image in images.items()]
        shared = Counter(other for key in keys for other in drawn_by.get(key, ()))
        if any(2 * count >= min(len(images), len(kept[other])) for other, count in shared.items()):
            continue
        kept[code] = images
        for key in keys:
            drawn_by.setdefault(key, []).append(code)
    return kept


def _jitter(images: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Each image turned by up to 12 degrees, scaled by 0.8 to 1.1 and shifted by up to 2 pixels."""
    rng = np.random.default_rng(seed)
    angles = np.deg2rad(rng.uniform(-12, 12, len(images)))
    scales = 1 / rng.uniform(0.8, 1.1, len(images))
    shifts = rng.uniform(-2, 2, (len(images), 2))
    centre = (SIZE - 1) / 2
    moved = np.empty_like(images)
    for row, image in enumerate(images):
        cos, sin = scales[row] * np.cos(angles[row]), scales[row] * np.sin(angles[row])
        offset_x = centre - cos * centre + sin * centre - shifts[row, 0]
        offset_y = centre - sin * centre - cos * centre - shifts[row, 1]
        inverse = (cos, -sin, offset_x, sin, cos, offset_y)
        picture = Image.fromarray(image)
        turned = picture.transform(picture.size, Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR)
        moved[row] = np.asarray(turned)
    return moved


def _read_cache(path: Path) -> tuple[NDArray[np.uint8], NDArray[Any]] | None:
    """What was cached, or None where the file is absent or damaged."""
    try:
        arrays = read_arrays(path)
    except (OSError, ValueError):
        return None
    images, ids = arrays.get("images"), arrays.get("ids")
    if images is None or ids is None or images.dtype != np.uint8 or ids.dtype.kind != "U":
        return None
    return (images, ids) if len(ids) and images.shape == (len(ids), SIZE, SIZE) else None


def _write_cache(path: Path, images: NDArray[np.uint8], ids: NDArray[Any]) -> None:
    """Cache by renaming a finished file; a cache folder that cannot be written costs only the time."""
    temporary = path.with_suffix(f".{os.getpid()}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(temporary, images=images, ids=ids)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
