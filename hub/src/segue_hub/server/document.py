"""Reports as JSON bytes: the `document` of answers to people and programs."""

from __future__ import annotations

import json
from typing import Any

import orjson


def document(plain: Any) -> bytes:
    """Plain data as JSON in UTF-8."""
    try:
        return orjson.dumps(plain)
    except TypeError:  # a team's properties: numbers of more than 64 bits, or very deep
        return json.dumps(plain, ensure_ascii=False).encode()
