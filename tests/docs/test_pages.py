"""Every block of the tutorial and the how-tos runs, in order, against a real hub."""

from __future__ import annotations

from pathlib import Path

import pytest
from segue_hub.testing import run_hub

from .blocks import ROOT, blocks, environment, run

PAGES = sorted([*(ROOT / "docs" / "tutorial").glob("*.md"), *(ROOT / "docs" / "how-to").glob("*.md")])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    found = blocks(page)
    assert found, "a page without a block to run"
    with run_hub(store=tmp_path / "hub" / "segue.db") as hub:
        env = environment(
            SEGUE_HUB=hub.address, SEGUE_HTTP=hub.http, SEGUE_KEY=hub.key("chat"), SEGUE_ADMIN_KEY=hub.admin_key,
            SEGUE_STATE=str(tmp_path / "state"), COLUMNS="160",
        )  # fmt: skip
        folder = tmp_path / "reader"
        folder.mkdir()
        for language, text in found:
            run(language, text, folder, env)


def test_every_link_between_pages_leads_somewhere() -> None:
    import re

    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"
