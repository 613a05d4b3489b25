"""Engines are told apart, and numbers on bars can be read."""

from __future__ import annotations

import numpy as np
import pytest

from reports.drawing.palette import COLOURS, STATE_COLOURS, looks, text_on

LOOK = looks(["a", "b"])


def test_an_engine_looks_the_same_everywhere_and_unlike_the_others():
    many = looks([f"e{index}" for index in range(14)])
    assert len({(each.colour, each.dash) for each in many.values()}) == 14
    assert LOOK["a"].colour == COLOURS[0]


def _luminance(colour: str) -> float:
    shares = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("colour", sorted({*COLOURS, *STATE_COLOURS.values()}))
def test_the_number_in_a_bar_can_be_read(colour: str):
    light = {"#000": 0.0, "#fff": 1.0}[text_on(colour)]
    darker, lighter = sorted((light, _luminance(colour)))
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5  # WCAG AA
