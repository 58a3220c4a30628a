"""Some thousands of customers, generated and labelled so, as a file for `segue-hub import`.

Owns the crowd around Ann. Everything is drawn from a seed that the demo prints.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ANN = {"account": "A-1009", "phone": "+4915100001009", "email": "ann@example.com", "cookie": "ann-browser"}
MAPPING = """
source: generated-demo
native_id: [id]
identifiers:
  account: {column: account}
  email:   {column: email}
  phone:   {column: phone}
  cookie:  {column: cookie}
facts:
  - trait: value_tier
    value: {column: value_tier}
    at: {column: at}
  - consent: marketing
    value: {column: consent}
    at: {column: at}
  - event: {column: type}
    at: {column: at}
    channel: {column: channel}
    properties:
      transfer_id: {column: transfer_id}
      device_id: {column: device_id}
      query: {column: query}
      generated: {constant: "yes"}
"""


def write(folder: Path, customers: int, seed: int) -> tuple[Path, Path]:
    """Writes the file and its mapping; returns both."""
    chance = random.Random(seed)  # noqa: S311  # a crowd, no secret
    now = datetime.now(UTC)
    rows: list[dict[str, Any]] = []

    def row(who: dict[str, str], minutes: float, **more: Any) -> None:
        at = (now - timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")
        rows.append({"id": len(rows), "at": at, **who, **more})

    row(ANN, 60 * 24 * 30, value_tier="high", consent="granted")
    for number in range(customers):
        who = {"account": f"G-{number:05d}", "email": f"g{number}@example.org", "phone": f"+49160{number:08d}"}
        row(who, 60 * 24 * 30, value_tier=chance.choice(["low", "mid", "high"]),
            consent=chance.choice(["granted", "granted", "denied"]))  # fmt: skip
        transfer, began = f"G-T-{number}", chance.uniform(5, 60 * 24 * 10)
        row(who, began, type="transfer.started", channel="app", transfer_id=transfer)
        if chance.random() < 0.25:
            row(who, began - 1, type="transfer.failed", channel="app", transfer_id=transfer)
            if chance.random() < 0.5:
                row(who, began - 2, type="help.searched", channel="web", query="transfer failed")
                row(who, began - 3, type="call.started", channel="ivr")
        else:
            row(who, began - 2, type="transfer.completed", channel="app", transfer_id=transfer)
    data, mapping = folder / "generated.jsonl", folder / "generated.yaml"
    data.write_text("".join(json.dumps(row_) + "\n" for row_ in rows), encoding="utf-8")
    mapping.write_text(MAPPING, encoding="utf-8")
    return data, mapping
