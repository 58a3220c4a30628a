"""One benchmark in a process of its own: `python -m benchmarks.one PACKAGE NAME [quick] [install-peers]`.

Owns the way a run goes out: JSON lines on the stdout it was given, `step` while it runs, then `report` or `failed`.
Everything else that is printed here goes to stderr. `runner` starts it.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import signal
import sys
import traceback
from typing import Any

from . import progress


def main(package: str, name: str, *flags: str) -> int:
    """Runs it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who begins a run in the background has it ignored
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)  # whatever else prints, and whatever is started, does not speak in our place

        def tell(kind: str, value: Any) -> None:
            out.write(json.dumps([kind, value]) + "\n")
            out.flush()

        progress.listen(lambda text: tell("step", text))
        try:
            run = importlib.import_module(f"{package}.{name}").run
            offered = {"quick": "quick" in flags, "install_peers": "install-peers" in flags}
            wanted = {name: value for name, value in offered.items() if name in inspect.signature(run).parameters}
            tell("report", run(**wanted).plain())
        except KeyboardInterrupt:
            tell("failed", "interrupted")
            return 1
        except Exception as error:  # noqa: BLE001  # one that fails must not end the others: told as its reason
            traceback.print_exc()
            tell("failed", f"{type(error).__name__}: {error}")
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
