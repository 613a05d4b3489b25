"""Numbers as readers want them. The only place in the project where milliseconds exist."""

from __future__ import annotations

from collections.abc import Callable, Sequence

MISSING = "–"
Ends = Sequence[float | None]


def duration(seconds: float | None) -> str:
    """Writes a time with three significant digits in the unit that reads best: 45 µs · 8.2 ms ·
    1.24 s · 3.1 min."""
    if seconds is None:
        return MISSING
    size = abs(seconds)
    if size == 0:
        return "0 s"
    if size < 0.9995e-3:
        return f"{_three_digits(seconds * 1e6)} µs"
    if size < 0.9995:
        return f"{_three_digits(seconds * 1e3)} ms"
    return f"{_three_digits(seconds)} s" if size < 600 else f"{_three_digits(seconds / 60)} min"


def interval(ends: Ends | None, show: Callable[[float | None], str]) -> str:
    """Returns `0.99 s to 1.4 s` with `show` for each end; an open end is said in words."""
    if ends is None:
        return MISSING
    low, high = ends
    if low is None and high is None:
        return "unbounded"
    if low is None:
        return f"at most {show(high)}"
    return f"at least {show(low)}" if high is None else f"{show(low)} to {show(high)}"


def duration_interval(ends: Ends | None) -> str:
    return interval(ends, duration)


def percent_interval(ends: Ends | None) -> str:
    return interval(ends, percent)


def percent(ratio: float | None) -> str:
    """Writes a ratio 0–1 in per cent, never rounded up to 100 % nor down to 0 %."""
    if ratio is None:
        return MISSING
    if 0 < ratio < 0.001:
        return "< 0.1 %"
    if 0.999 < ratio < 1:
        return "> 99.9 %"
    return f"{100 * ratio:.1f} %".replace(".0 %", " %")


def count(number: float | None) -> str:
    if number is None:
        return MISSING
    return f"{number:,.0f}" if float(number).is_integer() else _three_digits(number)


def times(ratio: float | None) -> str:
    """Writes a multiple of the baseline's, never rounded to 1×."""
    if ratio is None:
        return MISSING
    if ratio == 1 or not 0.995 <= ratio < 1.005:
        return f"{_three_digits(ratio)}×"
    if abs(ratio - 1) < 0.0005:
        return "> 1×" if ratio > 1 else "< 1×"
    return f"{ratio:.3f}×"


def size(num_bytes: float | None) -> str:
    if num_bytes is None:
        return MISSING
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(num_bytes) < 1024:
            return f"{_three_digits(num_bytes)} {unit}"
        num_bytes /= 1024
    return f"{_three_digits(num_bytes)} TiB"


def rate(bytes_per_s: float | None) -> str:
    return MISSING if bytes_per_s is None else f"{size(bytes_per_s)}/s"


def _three_digits(number: float) -> str:
    """1.24, 12.4, 124, 1,240: no exponent, no needless zeros."""
    digits = max(0, 2 - _exponent(number))
    text = f"{number:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _exponent(number: float) -> int:
    return int(f"{abs(number):.2e}".partition("e")[2])
