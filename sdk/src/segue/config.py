"""Configuration of a touchpoint: arguments, then environment, then defaults.

Owns what can be set, from where it comes, and what makes sense. Reads the environment; opens nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import ConfigError

_LOOPBACK = ("127.", "localhost", "[::1]", "unix:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How a touchpoint reaches the hub and where it keeps what it must not lose.

    Attributes:
        touchpoint: its name.
        hub: `host:port`; empty to work alone. `SEGUE_HUB`.
        key: issued by `segue-hub touchpoint add`. `SEGUE_KEY`.
        ca: PEM file of the authority that signed the hub's certificate; the system's where empty. `SEGUE_CA`.
        state: folder of outbox, plan and contexts. `SEGUE_STATE`.
        persist_contexts: whether contexts are kept on disk, to decide on after a restart without a hub.
            `SEGUE_PERSIST_CONTEXTS=1`.
        strict: whether misspelt names raise; on in tests. `SEGUE_STRICT=1`.
        outbox_rows, outbox_bytes: limits of the outbox; beyond, the oldest of the analytics lane go, and are counted.
        outbox_age: seconds that a fact waits at most for a hub that does not come back; older ones go, and are counted.
    """

    touchpoint: str
    hub: str = ""
    key: str = ""
    ca: str = ""
    state: Path = Path()
    persist_contexts: bool = False
    strict: bool = False
    outbox_rows: int = 1_000_000
    outbox_bytes: int = 512 * 1024 * 1024
    outbox_age: float = 30 * 24 * 3600.0

    @property
    def outbox_limits(self) -> tuple[int, int, float]:
        """Of the outbox: rows, bytes and age."""
        return self.outbox_rows, self.outbox_bytes, self.outbox_age

    @property
    def plaintext(self) -> bool:
        """Whether the hub is on this machine, where no TLS is needed."""
        return self.hub.startswith(_LOOPBACK) and not self.ca


def default_state(environment: Mapping[str, str]) -> Path:
    """Where state goes unless told: the user's state folder, or a temporary one where that cannot be written."""
    base = environment.get("XDG_STATE_HOME") or (str(Path.home() / ".local" / "state") if "HOME" in environment else "")
    if base and _writable(Path(base) / "segue"):
        return Path(base) / "segue"
    from tempfile import gettempdir

    folder = Path(gettempdir()) / "segue"
    _writable(folder)
    return folder


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def load(
    touchpoint: str,
    *,
    hub: str | None = None,
    key: str | None = None,
    ca: str | None = None,
    state: str | Path | None = None,
    persist_contexts: bool | None = None,
    strict: bool | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """A touchpoint's configuration.

    Raises:
        ConfigError: names the field and the cure.
    """
    env = os.environ if environment is None else environment
    if not touchpoint:
        raise ConfigError('a touchpoint needs a name, e.g. segue.Touchpoint("chat")')
    address = hub if hub is not None else env.get("SEGUE_HUB", "")
    if address and ":" not in address:
        raise ConfigError(f"SEGUE_HUB is {address!r}: write host:port, e.g. 127.0.0.1:7171")
    folder = state or env.get("SEGUE_STATE")
    return Config(
        touchpoint=touchpoint,
        hub=address,
        key=key if key is not None else env.get("SEGUE_KEY", ""),
        ca=ca if ca is not None else env.get("SEGUE_CA", ""),
        state=Path(folder) if folder else default_state(env),
        persist_contexts=_flag(persist_contexts, env.get("SEGUE_PERSIST_CONTEXTS")),
        strict=_flag(strict, env.get("SEGUE_STRICT")),
    )


def _flag(given: bool | None, text: str | None) -> bool:
    return given if given is not None else text in ("1", "true", "yes")
