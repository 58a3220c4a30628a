"""The command line, run in this process against a hub under test.

Owns `Command`: arguments in, exit code and both outputs back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner, Result
from segue_hub.testing import RunningHub

ESCAPE = "\x1b"


@dataclass(frozen=True)
class Command:
    """`segue-hub` with the environment of somebody who has exported address and keys."""

    hub: str = "127.0.0.1:1"
    admin_key: str = ""
    key: str = ""

    @classmethod
    def of(cls, hub: RunningHub, touchpoint: str = "app") -> Command:
        return cls(hub.address, hub.admin_key, hub.key(touchpoint))

    def __call__(self, *arguments: Any) -> Result:
        from segue_hub.cli import main

        env = {"SEGUE_HUB": self.hub, "SEGUE_ADMIN_KEY": self.admin_key, "SEGUE_KEY": self.key, "COLUMNS": "200"}
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], env=env)
        assert ESCAPE not in result.output, "colours although nobody looks"
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def ok(self, *arguments: Any) -> str:
        """Standard output of a command that does what it was asked."""
        result = self(*arguments)
        assert result.exit_code == 0, result.output
        return str(result.stdout)

    def json(self, *arguments: Any) -> Any:
        """What it prints with --json."""
        return json.loads(self.ok(*arguments, "--json"))

    def fails(self, code: int, *arguments: Any) -> str:
        """Standard error of a command that is refused."""
        result = self(*arguments)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return str(result.stderr)
