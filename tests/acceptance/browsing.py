"""A real browser, headless: Debian's Chromium, or the one that CHROMIUM names. Tests skip where there is none.

With SEGUE_SCREENSHOTS naming a folder, pictures are kept there, to be looked at.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install Debian's `chromium`, or set CHROMIUM"),
]


@contextmanager
def browsing() -> Iterator[Any]:
    """A started browser; `new_page` opens pages."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        try:
            yield browser
        finally:
            browser.close()


def picture(page: Any, name: str) -> None:
    """Keeps what a page looks like, where a folder for that is named."""
    folder = os.environ.get("SEGUE_SCREENSHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"))
