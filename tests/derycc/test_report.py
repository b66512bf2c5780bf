"""The report: well-formed, and nothing that a user wrote becomes markup."""

from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from derycc.manifest import Manifest
from derycc.report import report_html

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop


class Nesting(HTMLParser):
    """Checks that every element is closed by its own tag; keeps text and tags."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Nesting:
    reader = Nesting()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_of_a_build_is_well_formed_and_self_contained(workshop: "Workshop") -> None:
    page = (workshop.build / "report.html").read_text(encoding="utf-8")

    found = read(page)
    assert page.startswith("<!doctype html>\n")
    assert "A network for 1.2ms on reference" in found.text
    assert "It keeps its budget" in found.text
    assert found.seen.isdisjoint({"script", "link", "img", "iframe"})


def test_what_users_write_is_no_markup(papers: Manifest) -> None:
    evil = "<script>alert(1)</script>&\"'"
    donors = tuple(replace(donor, licence=evil) for donor in papers.donors)
    data = replace(papers.data, source=evil, caution=evil)
    quality = replace(papers.quality, reference=evil)
    page = report_html(
        replace(papers, budget=evil, target=evil, donors=donors, data=data, quality=quality)
    )

    found = read(page)
    assert "script" not in found.seen
    assert found.text.count(evil) >= 6


def test_a_missed_budget_is_said_in_the_first_line(papers: Manifest) -> None:
    latency = replace(papers.latency, within_budget=False)
    data = replace(papers.data, caution=None)

    page = report_html(replace(papers, latency=latency, data=data))

    assert '<p class="bad">It misses its budget: ' in page
    assert 'class="note"' not in page


def asked(papers: Manifest, **amounts: float) -> Manifest:
    """The same build, asked for within other limits and no latency."""
    rows = (replace(c, asked=amounts.get(c.resource)) for c in papers.constraints)
    latency = replace(papers.latency, budget_us=None)
    return replace(papers, budget=None, latency=latency, constraints=tuple(rows))


@pytest.mark.parametrize(
    ("amounts", "least", "title"),
    [
        ({"params": 5e6, "stitches": 2}, None, "A network of at most 2 stitches, 5 M parameters"),
        ({"memory_bytes": 5e7}, None, "A network of at most 50 MB of peak memory"),
        ({}, 0.8, "The fastest network of at least 80.0 % quality"),
        (
            {"stitches": 1},
            0.8,
            "The fastest network of at least 80.0 % quality, at most 1 stitch",
        ),
    ],
)
def test_a_search_without_a_latency_is_titled_by_what_bounded_it(
    papers: Manifest, amounts: dict[str, float], least: float | None, title: str
) -> None:
    assert papers.demands is not None
    demands = replace(papers.demands, min_quality=least)

    page = report_html(replace(asked(papers, **amounts), demands=demands))

    assert f"<h1>{title} on reference</h1>" in page
    assert f"<title>derycc: {title}</title>" in page


def test_a_recipe_is_titled_as_one(papers: Manifest) -> None:
    by_hand = replace(papers, solver=None)

    assert "<h1>A network of a recipe for 1.2ms on reference</h1>" in report_html(by_hand)
    assert "<h1>A network of a recipe on reference</h1>" in report_html(
        replace(by_hand, budget=None)
    )
