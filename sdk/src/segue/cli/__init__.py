"""The command line of the SDK: `segue`, for channel teams, with their own key and their own code.

Owns the commands and what went wrong in words. What looks after a hub is `segue-hub`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..errors import SegueError
from ..version import VERSION
from . import replay
from .terminal import Ended, paint


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command.

    Args:
        arguments: of the command line; the process's own where not given.
    """
    parser = argparse.ArgumentParser(
        prog="segue", description="For channel teams: try a decision function on the past.",
        epilog="Exit codes: 0 done, 1 refused, 2 used wrongly, 3 the hub cannot be reached, 4 answers differ.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    replay.add(commands)
    given = parser.parse_args(arguments)
    try:
        code = given.run(given)
    except Ended as end:
        _fail(str(end), end.code)
    except SegueError as error:
        _fail(f"{error} [{error.code}]", 2)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the output has had enough
        raise SystemExit(0) from None
    raise SystemExit(code)


def _fail(message: str, code: int) -> None:
    print(f"{paint('error:', 'red', sys.stderr)} {message}", file=sys.stderr)
    raise SystemExit(code)
