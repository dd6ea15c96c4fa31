"""How numbers are written in tables, figures and sentences; what was not measured is a dash."""

from __future__ import annotations

import math

MISSING = "-"


def score(value: float | None) -> str:
    """A score of 0 to 1 in four characters: `.453`, `1.00`."""
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{value:.3f}"
    return text[:4] if abs(value) >= 0.9995 else text.replace("0.", ".", 1)


def signed(value: float | None) -> str:
    """A difference of scores with its sign: `+.046`, `-.007`."""
    text = score(value)
    return text if text == MISSING or text.startswith("-") else f"+{text}"


def interval(bounds: tuple[float, float]) -> str:
    """The two ends of an interval: `.441-.465`."""
    return MISSING if not all(map(math.isfinite, bounds)) else f"{score(bounds[0])}-{score(bounds[1])}"


def half_width(bounds: tuple[float, float]) -> str:
    """Half the length of an interval: `±.012`."""
    return "" if not all(map(math.isfinite, bounds)) else f"±{score((bounds[1] - bounds[0]) / 2)}"


def percent(share: float | None, digits: int = 0) -> str:
    """A share as a percentage: `41 %`."""
    if share is None or not math.isfinite(share):
        return MISSING
    rounded = round(100 * share, digits) + 0.0  # + 0.0 turns -0.0 into 0.0
    return f"{rounded:.{digits}f} %"


def seconds(value: float) -> str:
    """A duration with the unit that fits: `<0.01 s`, `0.4 s`, `12 s`, `3 min 20 s`, `2 h 05 min`."""
    if not math.isfinite(value):
        return MISSING
    if value < 0.095:
        return f"{value:.2f} s" if value >= 0.005 else "<0.01 s"
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
