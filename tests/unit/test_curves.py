"""Growth curves: well-formed pictures whose points stand where their values say."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks.curves import Panel, Point, draw, short

_SVG = "{http://www.w3.org/2000/svg}"


def drawn(panel: Panel) -> ElementTree.Element:
    return ElementTree.fromstring(draw("growth & more", "customers", [panel]))  # our own text


def points(*values: float) -> list[Point]:
    return [Point(10.0 ** (4 + n), value, value * 0.9, value * 1.1) for n, value in enumerate(values)]


def test_a_larger_value_stands_higher_and_sizes_stand_evenly_on_a_logarithmic_axis() -> None:
    circles = list(drawn(Panel("facts/s", points(10.0, 30.0, 20.0))).iter(f"{_SVG}circle"))
    x, y = ([float(circle.attrib[name]) for circle in circles] for name in ("cx", "cy"))
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)
    assert y[0] > y[2] > y[1], "SVG counts downwards"


def test_a_bound_stands_where_a_point_of_its_value_would() -> None:
    picture = drawn(Panel("ms", points(10.0, 20.0), bound=20.0, bound_name="no more"))
    (bound,) = [line for line in picture.iter(f"{_SVG}line") if line.attrib["class"] == "bound"]
    assert float(bound.attrib["y1"]) == pytest.approx(float(list(picture.iter(f"{_SVG}circle"))[1].attrib["cy"]))


def test_axes_are_labelled_and_every_value_is_written() -> None:
    texts = [text.text for text in drawn(Panel("facts/s", points(35_240.0, 940.0))).iter(f"{_SVG}text")]
    assert {"growth & more", "facts/s", "customers", "10k", "100k", "35.2k", "940", "0"} <= set(texts)


def test_nothing_leaves_the_picture() -> None:
    picture = drawn(Panel("MB", [Point(1e4, 5.0, 1.0, 900.0), Point(1e6, 600.0, 0.0, 900.0)], bound=300.0))
    width, height = float(picture.attrib["width"]), float(picture.attrib["height"])
    for line in picture.iter(f"{_SVG}line"):
        assert all(0 <= float(line.attrib[name]) <= width for name in ("x1", "x2"))
        assert all(0 <= float(line.attrib[name]) <= height for name in ("y1", "y2"))


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.75, "0.75"), (1, "1"), (12.4, "12"), (940, "940"), (1e6, "1M"), (35_240, "35.2k")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert short(value) == text
