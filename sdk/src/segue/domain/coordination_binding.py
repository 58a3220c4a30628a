"""What `choice("topic:offers")`, `claim("conversation").holder` and `holdout("control")` mean in expressions.

Owns the parts of a claim with their types, which the hub declares to the checker, when each flips, and which names may
be asked for. The same words are methods of `Context`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from .choice import PREFERRED, chosen, is_about
from .expression.node import Node, Refused
from .expression.value import NEVER, Timestamp, Value
from .vocabulary import Vocabulary, did_you_mean

if TYPE_CHECKING:
    from .claim import Claim
    from .content import Content
    from .scope import Scope

CLAIM_FIELDS: Final = {"holder": "string", "offered_to": "string", "since": "timestamp", "until": "timestamp"}

# Environments are typed by their smallest protocol; here they are always scopes.
_At = Callable[[Any], tuple[Value, int]]


def _pair(function: _At) -> Node:
    return Node(lambda env: function(env)[0], function)


def unknown_choice(about: str, vocabulary: Vocabulary, maps: Sequence[str]) -> tuple[str, str]:
    """What is wrong with the name of a choice, and the cure; two empty texts where nothing is."""
    if about == PREFERRED:
        return "", ""
    head, _, name = about.partition(":")
    known: Mapping[str, Sequence[str]] = {
        "channel": tuple(vocabulary.channels), "journey": tuple(maps), "purpose": vocabulary.purposes
    }  # fmt: skip
    if not is_about(about):
        return f"nobody chooses about {about!r}", (
            "Ask for channel:NAME, topic:NAME, purpose:NAME, journey:MAP, or channel for the one she prefers"
        )
    names = known.get(head, ())  # topics are not declared
    if names and name not in names:
        return f"no {'journey map' if head == 'journey' else head} is called {name!r}", did_you_mean(name, names)
    return "", ""


def choice_node(about: str, vocabulary: Vocabulary, maps: Sequence[str]) -> Node:
    """`choice("topic:offers")`: what she chose about it, empty where nothing or taken back.

    Raises:
        Refused: nothing can be chosen about that name.
    """
    cause, cure = unknown_choice(about, vocabulary, maps)
    if cause:
        raise Refused(f"{cause}. {cure}")
    return Node(lambda env: chosen(env.content.choices, about))  # type: ignore[attr-defined]


def holdout_node(name: str, holdouts: Sequence[str]) -> Node:
    """`holdout("control")`: the arm that she was first exposed in, empty before.

    Raises:
        Refused: no guardrail of that name has a holdout.
    """
    if name not in holdouts:
        raise Refused(f"no guardrail with a holdout is called {name!r}. {did_you_mean(name, holdouts)}")
    return Node(lambda env: exposed(env.content, name))  # type: ignore[attr-defined]


def exposed(content: Content, name: str) -> str:
    """The arm of a customer's first exposure to a holdout; empty before it (AC4)."""
    exposure = content.exposures.get(name)
    return exposure[0] if exposure is not None else ""


def claim_node(scope: str) -> Node:
    """`claim("conversation")`.

    Raises:
        Refused: the scope is empty.
    """
    if not scope.strip():
        raise Refused(f"{scope!r} names no scope of a claim")

    def whole(env: Scope) -> tuple[Value, int]:
        found, flip = claim_at(env.content, scope, env.at)
        return {name: _told(value) for name, value in found.items()}, flip

    def part(name: str) -> Node:
        if name not in CLAIM_FIELDS:
            raise Refused(f"a claim has no {name!r}. {did_you_mean(name, CLAIM_FIELDS)}")

        def moving(env: Scope) -> tuple[Value, int]:
            found, flip = claim_at(env.content, scope, env.at)
            return _told(found[name]), flip

        return _pair(moving)

    node = _pair(whole)
    node.part = part
    return node


def claim_at(content: Content, scope: str, at: int) -> tuple[Mapping[str, Any], int]:
    """The parts of the claim on a scope at a moment, instants in microseconds, and when they may change."""
    claim = content.claims.get(scope)
    if claim is None or not claim.stands(at):
        return _NOBODY, NEVER
    return {
        "holder": claim.holder, "offered_to": _offered(claim, at), "since": claim.since, "until": claim.until
    }, claim.flips_at(at)  # fmt: skip


_NOBODY: Final[Mapping[str, Any]] = {"holder": "", "offered_to": "", "since": 0, "until": 0}


def _offered(claim: Claim, at: int) -> str:
    return claim.offered_to if at < claim.offered_until else ""


def _told(value: Any) -> Value:
    """An instant as the language has it; 1970 where nobody holds it (TI9)."""
    return Timestamp(value * 1000) if type(value) is int else value
