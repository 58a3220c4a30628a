"""Settings of a hub: one validated object, made once, at the edge.

Owns what can be set and what makes sense together.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from segue.errors import ConfigError

from .limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a hub needs to know to start.

    Attributes:
        store: the SQLite file; None keeps everything in memory.
        host, port: where gRPC listens; port 0 takes a free one.
        http_port: where metrics, health and HTTP events listen; 0 takes a free one, None none.
        certificate, private_key: TLS files.
        insecure: without TLS; loopback only.
        heads: how many live contexts are kept.
        decisions: modules whose decision functions the hub runs: `MODULE`, `MODULE:OBJECT`, `FILE.py` ...
        limits: how much it takes on at most.
    """

    store: Path | None = None
    host: str = "127.0.0.1"
    port: int = 7171
    http_port: int | None = 7172
    certificate: Path | None = None
    private_key: Path | None = None
    insecure: bool = False
    heads: int = 10_000
    decisions: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def validate(self) -> Settings:
        """Returns itself.

        Raises:
            ConfigError: names the field and the cure.
        """
        if bool(self.certificate) != bool(self.private_key):
            raise ConfigError("TLS needs both --certificate and --private-key")
        if not self.certificate and not self.insecure:
            raise ConfigError("no certificate: give --certificate and --private-key, or say --insecure (loopback only)")
        if self.insecure and not is_loopback(self.host):
            raise ConfigError(f"--insecure listens on loopback only, not on {self.host}: give a certificate")
        for file in (self.certificate, self.private_key):
            if file is not None and not file.is_file():
                raise ConfigError(f"{file} is no file")
        self.limits.validate()
        return self


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
