"""Touchpoints' keys: issued once, kept as hashes, two live for rotation.

Owns who a key belongs to. The admin's key is one of the same sort, under a name no touchpoint can have.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from typing import Any, Final

from ..storage.ports import Key, Store
from .failure import Refusal

RESERVED: Final = "@"
"""Names that begin so are the hub's own."""
ADMIN: Final = f"{RESERVED}admin"
LIVE: Final = 2
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


def _not_reserved(touchpoint: str) -> None:
    if touchpoint.startswith(RESERVED):
        raise Refusal(
            "NAME_RESERVED",
            f"{touchpoint!r:.80} is a reserved name, no touchpoint can have it. For another key of the admin, delete"
            " the .admin-key file beside the store and start the hub again",
        )


def hash_of(key: str) -> bytes:
    """What is kept of a key. Keys are random 256-bit texts, so a plain hash cannot be guessed back."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()  # a header may hold any bytes: no key has them


class Touchpoints:
    """The keys of a workspace.

    Args:
        store: where the hashes are.
        clock: the hub's time in microseconds.
    """

    def __init__(self, store: Store, clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock
        self._owners = {key.hash: key.touchpoint for key in store.keys()}
        self.write: Callable[..., Any] | None = None
        self.listeners: list[Callable[[], None]] = []

    def owner(self, key: str) -> str | None:
        """The touchpoint that a key belongs to; None where it is not valid (any more)."""
        return self._owners.get(hash_of(key))

    @property
    def names(self) -> list[str]:
        """All touchpoints with a live key."""
        return sorted({name for name in self._owners.values() if name != ADMIN})

    async def issue(self, touchpoint: str) -> str:
        """A new key; of the touchpoint's keys the newest two stay valid.

        Raises:
            Refusal: NAME_INVALID, NAME_RESERVED.
        """
        _not_reserved(touchpoint)
        if not _NAME.fullmatch(touchpoint):
            raise Refusal(
                "NAME_INVALID",
                f"{touchpoint!r:.80} is no touchpoint name: lower case letters, digits, - and _, at most 63",
            )
        return await self._issue(touchpoint)

    async def issue_admin(self) -> str:
        """A new key of the admin: for whoever runs the hub's process; no call over the wire gets one."""
        return await self._issue(ADMIN)

    async def _issue(self, touchpoint: str) -> str:
        key = f"segue_{touchpoint.lstrip('@')}_{secrets.token_urlsafe(32)}"
        await self._change(lambda unit: unit.add_key(Key(touchpoint, hash_of(key), self._clock()), LIVE))
        return key

    async def revoke(self, touchpoint: str) -> int:
        """Makes all keys of a touchpoint invalid; returns how many there were.

        Raises:
            Refusal: NAME_RESERVED.
        """
        _not_reserved(touchpoint)
        before = len(self._owners)
        await self._change(lambda unit: unit.revoke(touchpoint))
        return before - len(self._owners)

    async def _change(self, change: Callable[[Any], object]) -> None:
        assert self.write is not None, "wired by the composition root"

        def write(unit: Any, position: int) -> int:
            change(unit)
            return position

        await self.write(write)
        self._owners = {key.hash: key.touchpoint for key in self._store.keys()}
        for listener in self.listeners:
            listener()
