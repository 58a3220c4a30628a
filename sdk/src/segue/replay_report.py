"""What a replay found: how many answers are the same, which customers would be treated otherwise, and by what.

Owns the counts and the plain (JSON) form of the report. Memory is bounded: names are counted up to a limit, and of
customers only so many are kept as are asked for; whoever wants all of them writes every answer to a file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from .domain.decision_fact import Treatment
from .domain.instant import instant_text
from .domain.replay import Answer, Difference, Moment
from .impurity import Impurity

KINDS: Final = 1_000
"""Different entries of one table; what comes beyond is counted together."""
DECISIONS: Final = 20
"""Decisions told of one customer."""
Name = TypeVar("Name")
Plain = dict[str, Any]


@dataclass(slots=True)
class Case:
    """One of today's customers who would be treated otherwise."""

    customer: str
    identifiers: list[str]
    decisions: list[Plain] = field(default_factory=list)
    count: int = 0


class ReplayReport:
    """Counts.

    Args:
        limit: customers to keep; 0 for all.

    Attributes:
        asked: how often.
        identical: answers that are the recorded ones bit for bit: reads, verdicts and words included.
        same: answers that treat the customer alike; the identical ones among them.
        different: the others.
        failed: how often the function had no answer: it raised, or asked for what it may not read.
        customers: how many would be treated otherwise at least once.
        cases: those of them that are kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._different: set[str] = set()
        self.asked = self.identical = self.same = self.different = self.failed = 0
        self.late = self.merged_late = self.narrowed = 0
        self.answers: Counter[Treatment | None] = Counter()
        self.changes: Counter[tuple[Treatment, Treatment] | None] = Counter()
        self.decided_by: Counter[tuple[str, str, str] | None] = Counter()
        self.failures: Counter[str | None] = Counter()
        self.gaps: Counter[str] = Counter()
        self.gap_cases: list[Plain] = []
        self.cases: dict[str, Case] = {}

    @property
    def customers(self) -> int:
        """How many would be treated otherwise."""
        return len(self._different)

    def skip(self, moment: Moment) -> None:
        """One that cannot be asked again as then."""
        self.gaps[moment.gap] += 1
        if self._keeps(len(self.gap_cases)):
            self.gap_cases.append(_told(moment) | {"reason": moment.gap})

    def add(self, moment: Moment, now: Answer, was: Answer | None, difference: Difference | None, error: str) -> None:
        """One that was asked again.

        Args:
            moment: of the past.
            now: the answer.
            was: what it is compared with, if anything.
            difference: between the two.
            error: why it is no answer; empty where it is one.
        """
        self.asked += 1
        self.late += moment.late > 0
        self.merged_late += moment.merged_late
        self.narrowed += moment.narrowed
        _count(self.answers, now.treatment if difference is None else difference.now)
        if error:
            self.failed += 1
            _count(self.failures, error)
        if was is None:
            return
        if difference is None:
            self.same += 1
            self.identical += was.is_identical(now)
            return
        self.different += 1
        _count(self.changes, (difference.was, difference.now))
        for read in difference.decided_by:
            _count(self.decided_by, read)
        self._different.add(moment.customer)
        self._keep(moment, now, difference)

    def _keeps(self, count: int) -> bool:
        return not self._limit or count < self._limit

    def _keep(self, moment: Moment, now: Answer, difference: Difference) -> None:
        case = self.cases.get(moment.customer)
        if case is None:
            if not self._keeps(len(self.cases)):
                return
            names = [str(identifier) for identifier in moment.fact.identifiers]
            case = self.cases[moment.customer] = Case(moment.customer, names)
        case.count += 1
        if len(case.decisions) < DECISIONS:
            case.decisions.append(
                _told(moment) | {
                    "was": treatment_plain(difference.was), "now": treatment_plain(difference.now),
                    "decided_by": [read_plain(read) for read in difference.decided_by],
                    "explain": now.details.get("explain", ""), "late": moment.late,
                    "merged_late": moment.merged_late,
                }
            )  # fmt: skip

    def plain(self, found: Iterable[tuple[Impurity, int]], compared: bool) -> Plain:
        """Everything, as JSON.

        Args:
            found: what was read besides the context, with how often.
            compared: whether there was something to compare with.
        """
        report: Plain = {"asked": self.asked}
        if compared:
            report |= {
                "same": self.same, "identical": self.identical, "different": self.different,
                "customers_different": self.customers,
            }  # fmt: skip
        report |= {
            "failed": self.failed,
            "not_asked": dict(self.gaps),
            "answers": [{"answer": treatment_plain(t), "count": n} for t, n in self.answers.most_common()],
        }
        if compared:
            report |= {
                "changes": [
                    {"was": treatment_plain(pair and pair[0]), "now": treatment_plain(pair and pair[1]), "count": n}
                    for pair, n in self.changes.most_common()
                ],
                "decided_by": [read_plain(read) | {"count": n} for read, n in self.decided_by.most_common()],
                "customers": [
                    {
                        "customer": case.customer, "identifiers": case.identifiers, "different": case.count,
                        "decisions": case.decisions,
                    }
                    for case in self.cases.values()
                ],
            }  # fmt: skip
        return report | {
            "failures": [{"error": error or _OTHERS, "count": n} for error, n in self.failures.most_common()],
            "late": self.late,
            "merged_late": self.merged_late,
            "narrowed": self.narrowed,
            "reads_besides": [impurity._asdict() | {"decisions": count} for impurity, count in found],
            "gaps": self.gap_cases,
        }


_OTHERS: Final = "others"


def _count(table: Counter[Name | None], name: Name) -> None:
    table[name if name in table or len(table) < KINDS else None] += 1


def _told(moment: Moment) -> Plain:
    fact = moment.fact
    return {
        "id": fact.id.hex(), "at": instant_text(moment.at or fact.occurred_at),
        "identifiers": [str(identifier) for identifier in fact.identifiers],
        "interaction": fact.interaction.id if fact.interaction is not None else "",
    }  # fmt: skip


def treatment_plain(treatment: Treatment | None) -> Any:
    """A treatment as JSON: the answer itself, or an object where an action was wanted."""
    if treatment is None:
        return _OTHERS
    answer = json.loads(treatment.answer)
    if not treatment.action and not treatment.held:
        return answer
    action = json.loads(treatment.action) if treatment.action else {}
    return {"action": answer, **action, "held": treatment.held}


def read_plain(read: tuple[str, str, str] | None) -> Plain:
    """Something that was read, as JSON."""
    question, answer, was = read or (_OTHERS, "", "")
    plain = {"question": question, "answer": _decoded(answer)}
    return plain | {"was": _decoded(was)} if was else plain


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def answer_plain(moment: Moment, now: Answer, was: Answer | None) -> Plain:
    """One answer of many, as JSON."""
    plain = _told(moment) | {"customer": moment.customer, "answer": treatment_plain(now.treatment)}
    plain["reason"] = now.details.get("reason", "")
    return plain | {"was": treatment_plain(was.treatment)} if was is not None else plain
