"""Errors on a terminal: coloured, and with every word that a team wrote."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from segue_hub.cli import output


def test_an_error_keeps_brackets_that_look_like_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.StringIO()
    monkeypatch.setattr(output, "errors", Console(file=told, force_terminal=True, soft_wrap=True, highlight=False))
    with pytest.raises(SystemExit) as caught:
        output.fail("nobody is known by account=[red]x[/] [NOT_FOUND]", 1)
    assert caught.value.code == 1
    assert "account=[red]x[/] [NOT_FOUND]" in told.getvalue()
    assert "\x1b[31m" in told.getvalue()
