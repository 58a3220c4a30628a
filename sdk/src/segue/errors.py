"""The errors of Segue, as a tree, each with a stable code.

Owns every exception that crosses a public face. Nothing of this reaches a host through `decide` or `track`.

    SegueError                 code
    ├── InputError             a caller's mistake: names field, place and cure
    │   ├── PlanError          PLAN_INVALID
    │   ├── FactError          FACT_INVALID
    │   └── NameUnknown        NAME_UNKNOWN
    │       └── NotGranted     NOT_GRANTED
    ├── ConfigError            CONFIG_INVALID
    ├── HeldBack               HELD_BACK
    └── NotCovered             PARTIAL
"""

from __future__ import annotations

from typing import Any


class SegueError(Exception):
    """Something went wrong; `code` is stable and can be matched on."""

    code = "SEGUE"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class InputError(SegueError):
    """What was given cannot be used.

    Attributes:
        field: where in the input, for example `maps.money_transfer.key`.
        cure: what to write instead.
    """

    code = "INPUT_INVALID"

    def __init__(self, message: str, *, field: str = "", cure: str = "", code: str | None = None) -> None:
        text = f"{field}: {message}" if field else message
        super().__init__(f"{text}. {cure}" if cure else text, code=code)
        self.field = field
        self.cure = cure


class PlanError(InputError):
    """A plan that cannot be run."""

    code = "PLAN_INVALID"


class FactError(InputError):
    """A fact that cannot be taken."""

    code = "FACT_INVALID"


class NameUnknown(InputError):
    """A channel, event, trait, map or audience that the plan does not know."""

    code = "NAME_UNKNOWN"


class NotGranted(NameUnknown):
    """A field that the touchpoint may not read."""

    code = "NOT_GRANTED"


class NotCovered(SegueError):
    """A question that reaches further back than the context keeps."""

    code = "PARTIAL"


class HeldBack(SegueError):
    """An action that was to be carried out and may not: `with d.act():` found no place for it.

    Attributes:
        verdict: what holds it back: guardrail, reason, holder, until when.
    """

    code = "HELD_BACK"

    def __init__(self, message: str, *, verdict: Any = None) -> None:
        super().__init__(message)
        self.verdict = verdict


class ConfigError(SegueError):
    """The touchpoint is set up wrongly."""

    code = "CONFIG_INVALID"
