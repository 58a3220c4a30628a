"""A plan's files, checked together: from texts to a document, or to problems with places.

Owns which file is what, the references between files, and the document that hub and SDK compile. Nothing here touches
a disk but `read_directory`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Final

from segue.domain.grant import SECTIONS
from segue.domain.instant import parse_instant, span
from segue.domain.plan import Plan
from segue.domain.vocabulary import Channel, EventName, TraitName, Vocabulary, did_you_mean
from segue.errors import PlanError

from .expression import Checker, ExpressionFlawed
from .problem import Problem
from .shape import Expression, Shape
from .yaml_text import YamlBroken, YamlText, read_yaml

_KINDS: Final = {"vocabulary": "vocabulary", "audiences": "audiences", "guardrails": "guardrails",
                 "touchpoints": "touchpoints", "calendars": "calendars"}  # fmt: skip
_LIMITS: Final = (
    "suppress_when", "requires_consent", "requires_subscription", "cap", "quiet_hours", "claim", "holdout",
    "effort_budget", "yields",
)  # fmt: skip
_RESERVED: Final = ("hold", "on_expiry", "on_unreachable")
"""What a cap says of reservations."""
_EVER: Final = "1970-01-01T00:00:00Z"


@dataclass(slots=True)
class Checked:
    """What came of checking: a document where no problem is an error."""

    problems: list[Problem] = field(default_factory=list)
    document: dict[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """Whether it can be pushed."""
        return not any(problem.severity == "error" for problem in self.problems)


def read_directory(folder: FilePath) -> dict[str, str]:
    """The texts of a plan's directory, by path relative to it."""
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".yaml", ".yml") and path.is_file()
    }


def check_plan(files: Mapping[str, str]) -> Checked:
    """Checks all files of a plan."""
    return _Check(files).run()


class _Check:
    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files
        self._checked = Checked()
        self._shapes: dict[str, Shape] = {}
        self._texts: dict[str, YamlText] = {}
        self._document: dict[str, Any] = {}
        self._paths: dict[str, str] = {}

    def run(self) -> Checked:
        if not self._files:
            self._say("plan", "the directory holds no .yaml files", "See examples/plan")
            return self._checked
        for path, text in sorted(self._files.items()):
            self._read(path, text)
        if not self._checked.ok:
            return self._checked
        self._references()
        checker = Checker(
            _vocabulary(self._document), self._document.get("maps", {}), self._document.get("audiences", {}),
            self._document.get("calendars", {}),
            [name for name, body in self._document.get("guardrails", {}).items() if body.get("holdout")],
        )  # fmt: skip
        for path, shape in self._shapes.items():
            for expression in shape.expressions:
                self._expression(checker, path, expression)
        if self._checked.ok:
            try:
                Plan(self._document)
            except PlanError as error:
                self._say(error.field, str(error).removeprefix(f"{error.field}: "))
            else:
                self._checked.document = self._document
        self._checked.problems.sort(key=lambda p: (p.severity, p.file, p.line, p.column))
        return self._checked

    def _say(self, field_: str, message: str, cure: str = "", *, path: str = "", line: int = 1, column: int = 1,
             severity: str = "error") -> None:  # fmt: skip
        self._checked.problems.append(
            Problem(
                file=path or self._paths.get(field_.partition(".")[0], "."),
                line=line,
                column=column,
                field=field_,
                message=message,
                cure=cure,
                severity=severity,
            )
        )

    def _read(self, path: str, text: str) -> None:
        stem = FilePath(path).stem
        kind = "map" if "maps" in FilePath(path).parts[:-1] else _KINDS.get(stem)
        if kind is None:
            self._say(stem, "is no file of a plan", did_you_mean(stem, _KINDS) + " Maps go into maps/", path=path)
            return
        try:
            yaml = read_yaml(text)
        except YamlBroken as error:
            line = text.splitlines()[error.line - 1].strip() if error.line <= len(text.splitlines()) else ""
            hint = "If this is an expression, put it in quotes: '...'" if any(c in line for c in "!?:&|[#*{%@") else ""
            self._say(stem, f"no YAML: {error}", hint, path=path, line=error.line, column=error.column)
            return
        if yaml.value is None:
            yaml.value = {}
        prefix = f"maps.{stem}" if kind == "map" else "" if kind == "vocabulary" else kind
        shape = Shape(path, yaml, prefix)
        shape.hold(kind)
        self._checked.problems += shape.problems
        self._shapes[path], self._texts[path] = shape, yaml
        if shape.problems:
            return
        if kind == "map":
            name = yaml.value["map"]
            maps = self._document.setdefault("maps", {})
            if name in maps:
                self._say(f"maps.{name}", "two files define this map", "Rename one", path=path)
            body = {key: value for key, value in yaml.value.items() if key != "map"}
            for position, stage in enumerate(body.get("stages", {}).values()):
                stage["position"] = position
            maps[name] = body
        elif kind == "vocabulary":
            self._document |= {key: _filled(value) for key, value in yaml.value.items()}
        else:
            for position, body in enumerate(yaml.value.values()):
                if kind not in ("touchpoints", "calendars"):
                    body["position"] = position
            self._document[kind] = yaml.value
            self._paths[kind] = path

    def _where(self, path: str, *keys: str | int) -> tuple[int, int]:
        place = self._texts[path].places.get(keys) or self._texts[path].keys.get(keys)
        return (place.line, place.column) if place else (1, 1)

    def _expression(self, checker: Checker, path: str, expression: Expression) -> None:
        try:
            tree = checker.check(expression.source, expression.surroundings, expression.result)
        except ExpressionFlawed as error:
            for flaw in error.flaws:
                line, column = expression.place.line, expression.place.column + flaw.column
                if expression.place.block or flaw.line > 1:
                    line, column = expression.place.line + flaw.line - (not expression.place.block), flaw.column
                names = ".".join(str(part) for part in expression.path)
                prefix = self._shapes[path]._prefix
                self._say(f"{prefix}.{names}".strip("."), flaw.message, flaw.cure, path=path, line=line, column=column)
            return
        holder = self._texts[path].value
        for part in expression.path[:-1]:
            holder = holder[part]
        holder[expression.path[-1]] = {"source": expression.source, "tree": tree}
        if "maps" in FilePath(path).parts[:-1]:
            name = self._texts[path].value["map"]
            self._document["maps"][name][expression.path[0]] = self._texts[path].value[expression.path[0]]

    def _references(self) -> None:
        document = self._document
        channels, purposes = document.get("channels", {}), document.get("purposes", [])
        for path, yaml in self._texts.items():
            stem = FilePath(path).stem
            if stem == "guardrails":
                self._guardrails(path, yaml.value, purposes)
            elif stem == "touchpoints":
                self._touchpoints(path, yaml.value, channels, purposes)
            elif stem == "vocabulary":
                self._traits(path, yaml.value.get("traits", {}))
            elif stem == "calendars":
                self._calendars(path, yaml.value)
            elif "map" in yaml.value:
                self._map(path, yaml.value)
        both = sorted(set(channels) & set(document.get("events", {})))
        for name in both:
            self._say(f"events.{name}", "is also the name of a channel", "seen() could not tell them apart: rename one",
                      path=next((p for p in self._files if FilePath(p).stem == "vocabulary"), ""))  # fmt: skip
        if document.get("maps") and not document.get("touchpoints"):
            self._say("touchpoints", "the plan grants nothing to anybody, so everybody may read and write all",
                      "Name the touchpoints in touchpoints.yaml", severity="warning")  # fmt: skip

    def _traits(self, path: str, traits: Mapping[str, Any]) -> None:
        for name, body in traits.items():
            if "one_of" not in body:
                continue
            line, column = self._where(path, "traits", name, "one_of")
            if body["type"] != "string":
                self._say(f"traits.{name}.one_of", f"lists texts, and the trait is of type {body['type']}",
                          "Make it a string, or leave one_of out", path=path, line=line, column=column)  # fmt: skip
            elif not body["one_of"]:
                self._say(f"traits.{name}.one_of", "is empty: the trait could have no value at all",
                          "Name what it may be, or leave one_of out", path=path, line=line, column=column)  # fmt: skip

    def _calendars(self, path: str, body: Mapping[str, Any]) -> None:
        for name, calendar in body.items():
            for index, day in enumerate(calendar.get("exceptions", ())):
                if ("from" in day) != ("to" in day):
                    line, column = self._where(path, name, "exceptions", index)
                    self._say(f"calendars.{name}.exceptions", f"{day['date']} has only one of from and to",
                              "Give both, or none where it is closed", path=path, line=line, column=column)  # fmt: skip

    def _map(self, path: str, body: Mapping[str, Any]) -> None:
        name = body["map"]
        stalls, abandons = body.get("stalls"), body.get("abandons")
        if stalls and abandons and span(stalls["after"]) >= span(abandons["after"]):
            line, column = self._where(path, "stalls", "after")
            self._say(f"maps.{name}.stalls", "stalls no earlier than it is abandoned", "Give stalls the shorter time",
                      path=path, line=line, column=column)  # fmt: skip
        if "starts" not in body and "key" not in body:
            self._say(
                f"maps.{name}", "'starts' is missing", "A map without a key needs to know when it begins", path=path
            )
        parent = body.get("parent")
        maps = self._document.get("maps", {})
        if parent and parent not in maps:
            line, column = self._where(path, "parent")
            self._say(f"maps.{name}.parent", f"no map is called {parent!r}", did_you_mean(parent, maps),
                      path=path, line=line, column=column)  # fmt: skip

    def _guardrails(self, path: str, body: Mapping[str, Any], purposes: list[str]) -> None:
        for name, rule in body.items():
            limits = [limit for limit in _LIMITS if limit in rule]
            line, column = self._where(path, name)
            if len(limits) != 1:
                found = f": {', '.join(limits)}" if limits else ""
                self._say(f"guardrails.{name}", f"has {len(limits)} limits{found}",
                          "Give exactly one of " + ", ".join(_LIMITS), path=path, line=line, column=column)  # fmt: skip
            cap = rule.get("cap", {})
            idle = [key for key in _RESERVED if key in cap and cap.get("exactness") != "strict"]
            if idle:
                line, column = self._where(path, name, "cap", idle[0])
                self._say(f"guardrails.{name}.cap.{idle[0]}", "means nothing where no place is reserved",
                          "Set exactness: strict, or leave it out", path=path, line=line, column=column)  # fmt: skip
            for purpose in rule.get("exempt", ()) if purposes else ():
                if purpose not in purposes:
                    line, column = self._where(path, name, "exempt")
                    self._say(f"guardrails.{name}.exempt", f"no purpose is called {purpose!r}",
                              did_you_mean(purpose, purposes), path=path, line=line, column=column)  # fmt: skip
            valid = rule.get("valid", {})
            if valid.get("until") and parse_instant(valid["until"]) <= parse_instant(valid.get("from", _EVER)):
                line, column = self._where(path, name, "valid")
                self._say(f"guardrails.{name}.valid", "ends before it begins",
                          "Give an until after from", path=path, line=line, column=column)  # fmt: skip
            consent = rule.get("requires_consent")
            if consent and purposes and consent not in purposes:
                line, column = self._where(path, name, "requires_consent")
                self._say(f"guardrails.{name}.requires_consent", f"no purpose is called {consent!r}",
                          did_you_mean(consent, purposes), path=path, line=line, column=column)  # fmt: skip

    def _touchpoints(
        self, path: str, body: Mapping[str, Any], channels: Mapping[str, Any], purposes: list[str]
    ) -> None:
        labels = {trait.get("label", "general") for trait in self._document.get("traits", {}).values()}
        sections = [*SECTIONS, *(f"traits.{label}" for label in labels)]
        for name, grant in body.items():
            if channels and grant["channel"] not in channels:
                line, column = self._where(path, name, "channel")
                self._say(f"touchpoints.{name}.channel", f"no channel is called {grant['channel']!r}",
                          did_you_mean(grant["channel"], channels), path=path, line=line, column=column)  # fmt: skip
            for purpose, granted in grant.get("reads", {}).items():
                if purposes and purpose not in purposes:
                    line, column = self._where(path, name, "reads", purpose)
                    self._say(f"touchpoints.{name}.reads.{purpose}", f"no purpose is called {purpose!r}",
                              did_you_mean(purpose, purposes), path=path, line=line, column=column)  # fmt: skip
                for index, section in enumerate(granted):
                    if section not in sections:
                        place = self._texts[path].places[name, "reads", purpose, index]
                        self._say(
                            f"touchpoints.{name}.reads.{purpose}", f"no section is called {section!r}",
                            did_you_mean(section, sections), path=path, line=place.line, column=place.column,
                        )  # fmt: skip


def _filled(value: Any) -> Any:
    """Names without details (`transfer.completed:`) stand for empty ones."""
    if isinstance(value, dict):
        return {name: {} if body is None else body for name, body in value.items()}
    return value


def _vocabulary(document: Mapping[str, Any]) -> Vocabulary:
    return Vocabulary(
        channels={name: Channel() for name in document.get("channels", {})},
        events={name: EventName() for name in document.get("events", {})},
        traits={
            name: TraitName(type=body["type"], label=body.get("label", "general"))
            for name, body in document.get("traits", {}).items()
        },
        purposes=tuple(document.get("purposes", ())),
    )
