"""Every test that has a stream holds it against the six watch checks, or stands here with the reason why not.

Streams of the SDK in pytest's own process are observed (`tests/observing.py`), bare ones are made by
`tests/streaming.py`. What is left: tests that break a stream on purpose, and hosts in processes of their own.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from segue.runtime import Runtime
from segue_hub.services.ingest import Ingest
from segue_hub.testing import RunningHub

from tests.serving import Serving

TESTS = Path(__file__).resolve().parents[1]
SOURCES = {str(path.relative_to(TESTS)): path.read_text(encoding="utf-8") for path in sorted(TESTS.rglob("*.py"))}
HELD_BY_FACTS = "its facts are held against the hub's log and books; who reads them there is a bare stream or nobody"
OWN_PROCESSES = {
    "acceptance/real_log.py": "the pages of the examples, as a visitor sees them",
    "acceptance/test_silent_activation.py": "the examples' e-mail job: what it sends is what is checked",
    "acceptance/test_two_teams.py": "the examples' app: what its visitors are told is what is checked",
    "architecture/test_house.py": "nobody listens at its hub's address",
    "faults/histories/host.py": "it tells and decides; watchers of F9 are bare streams, all six checks on each",
    "faults/host_lives.py": HELD_BY_FACTS,
    "faults/hostile_app.py": HELD_BY_FACTS,
    "faults/ledgers.py": "tellings of its cursor are held against the ledger",
    "faults/rivals.py": "grants are held against the cap",
    "faults/scene.py": HELD_BY_FACTS,
    "faults/strange_hosts.py": HELD_BY_FACTS,
    "faults/soak/host.py": "watchers of the soak are bare streams, all six checks on each",
    "faults/test_crash_points.py": HELD_BY_FACTS,
    "faults/test_offline_day.py": HELD_BY_FACTS,
    "faults/test_outboxes_killed.py": HELD_BY_FACTS,
    "faults/test_slow_disk.py": HELD_BY_FACTS,
    "integration/test_decide.py": "the hub's own decisions: no stream",
    "integration/test_fork.py": "what is imported when: nothing is read",
    "integration/test_loading.py": "what is imported when: nothing is read",
    "integration/test_process.py": "how a process begins and ends: nothing is read",
}
"""Where the SDK runs in a process of its own, and why nobody observes its streams there."""
UNCHECKED = {
    "faults/watcher.py": "`Watcher.anomalies` checks all of its streams together",
    "integration/test_bookmarks.py": "frames are held back at the hub while bookmarks are made of what was told last",
    "integration/test_identity_streams.py": "checked below it, by the rule of merges",
    "integration/test_several_contexts.py": "one context is made impossible to send, and stays untold",
    "integration/test_sync_stream.py": "the hub is made to say something twice; the client lets go meanwhile",
}
"""Bare streams that are not checked where their block ends."""
BARE = {"streaming.py", "faults/crowd.py", "integration/test_sync_gaps.py", "integration/test_gate.py"}
"""Who opens Sync without the SDK: `Stream`, a crowd whose test checks each of it, a link that swallows messages, and a
call that is refused."""
UNWATCHED = {"integration/test_sync_gaps.py": 2}
"""Tests that break a check of the SDK's streams on purpose; each says why."""


def texts(source: str) -> list[str]:
    """The string constants of a file."""
    return [n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def hosts(source: str) -> bool:
    """Whether a file is, holds or starts a process that embeds the SDK."""
    held = any("Touchpoint(" in text and "hub=" in text for text in texts(source))
    itself = "Touchpoint(" in source and ('__name__ == "__main__"' in source or "def application(" in source)
    return held or itself or ("examples." in source and "Popen" in source)


def test_every_stream_of_the_sdk_in_this_process_is_observed() -> None:
    for owner, name in ((Runtime, "begin"), (Runtime, "hear"), (Runtime, "hang_up"), (Runtime, "close"),
                        (RunningHub, "__init__"), (Serving, "__init__"), (Ingest, "_write"),
                        (Ingest, "_written_alone")):  # fmt: skip
        assert hasattr(getattr(owner, name), "__wrapped__"), f"{owner.__name__}.{name} is not watched"


def test_hosts_in_processes_of_their_own_are_known_with_the_reason_why_nobody_observes_them() -> None:
    own = {name for name, source in SOURCES.items() if hosts(source) and name != f"architecture/{Path(__file__).name}"}
    assert own == set(OWN_PROCESSES)
    assert all(OWN_PROCESSES.values())


def test_bare_streams_are_made_by_streaming_and_checked() -> None:
    assert {name for name, source in SOURCES.items() if re.search(r"\.Sync\(", source)} - {_own()} == BARE
    assert {name for name, source in SOURCES.items() if "checked=False" in source} - {_own()} == set(UNCHECKED)


def test_what_breaks_a_check_on_purpose_says_why() -> None:
    found: dict[str, int] = {}
    for name, source in SOURCES.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.unwatched":
                (reason,) = node.args
                assert isinstance(reason, ast.Constant)
                assert len(str(reason.value)) > 20
                found[name] = found.get(name, 0) + 1
    assert found == UNWATCHED


def _own() -> str:
    return str(Path(__file__).relative_to(TESTS))
