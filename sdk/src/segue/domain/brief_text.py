"""The words of a brief, in English and in Chinese.

Owns sentences and phrases, and nothing of what is told: names of events, channels, stages and actions stand as the plan
has them.
"""

# ruff: noqa: RUF001  # Chinese has its own punctuation
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from .instant import SECOND, ago

Parts = Sequence[tuple[str, int]]
"""Of effort: names and counts that are not zero."""


class Words(Protocol):
    """One language."""

    nothing: str
    no_journey: str

    def wants(self, title: str, standing: str, others: Sequence[str]) -> str:
        """What she wants."""

    def standing(self, stalled: bool, stage: str, age: int) -> str:
        """How it stands; `age` in microseconds."""

    def step(self, channel: str, what: str, age: int) -> str:
        """One thing that happened."""

    def tried(self, steps: Sequence[str]) -> str:
        """What happened so far."""

    def failed(self, step: str, more: int) -> str:
        """Where it failed last, and how often before."""

    def offer(self, touchpoint: str, kind: str, status: str, age: int) -> str:
        """One action."""

    def promise(self, what: str, channel: str, due_in: int) -> str:
        """One promise."""

    def answer(self, touchpoint: str, question: str, answer: str, held_back: bool) -> str:
        """One decision."""

    def choice(self, about: str, choice: str) -> str:
        """One thing that she chose."""

    def done(self, offered: Sequence[str], promised: Sequence[str], answered: Sequence[str], chosen: Sequence[str],
             note: str) -> str:  # fmt: skip
        """What was offered, promised and said, in one sentence; empty where nothing was."""

    def cost(self, effort: Parts, hidden: Sequence[str]) -> str:
        """Her effort so far and what cannot be seen, in one sentence; empty where there is neither."""


class English:
    """English."""

    nothing = "Nothing is known of this customer yet."
    no_journey = "No journey of this customer is under way."
    _parts: Final[Mapping[str, str]] = {
        "interactions": "came to us {}", "transfers": "was transferred {}",
        "repeats": "came back on the same channel {}",
        "switches": "changed the channel {}", "abandoned": "gave up {}", "loops": "was sent in a circle {}",
        "failed_self_service": "self-service failed {}", "queue_minutes": "{} in queues",
    }  # fmt: skip

    def wants(self, title: str, standing: str, others: Sequence[str]) -> str:
        also = f"; also: {', '.join(map(_lowered, others))}" if others else ""
        return f"The customer wants to: {_lowered(title)} ({standing}){also}."

    def standing(self, stalled: bool, stage: str, age: int) -> str:
        place = f" at {stage}" if stage else ""
        return f"{'stalled' if stalled else 'under way'}{place}, begun {ago(age)} ago"

    def step(self, channel: str, what: str, age: int) -> str:
        return f"{what} on {channel}, {ago(age)} ago" if channel else f"{what}, {ago(age)} ago"

    def tried(self, steps: Sequence[str]) -> str:
        return f"So far: {'; '.join(steps)}."

    def failed(self, step: str, more: int) -> str:
        return f"Failed {more + 1} times, last: {step}." if more else f"Failed once: {step}."

    def offer(self, touchpoint: str, kind: str, status: str, age: int) -> str:
        return f"{kind} by {touchpoint} ({status}, {ago(age)} ago)"

    def promise(self, what: str, channel: str, due_in: int) -> str:
        due = "" if not due_in else f", due in {ago(due_in)}" if due_in > 0 else f", overdue for {ago(-due_in)}"
        return f"{what} (on {channel}{due})" if channel else f"{what}{due}"

    def answer(self, touchpoint: str, question: str, answer: str, held_back: bool) -> str:
        if held_back:
            return f"{answer} of {touchpoint} (held back by a guardrail)"
        return f"{answer} by {touchpoint} ({question})"

    def choice(self, about: str, choice: str) -> str:
        head, _, name = about.partition(":")
        if not name:
            return f"prefers {choice}"
        return {"channel": f"nothing by {name}", "topic": f"nothing about {name}", "purpose": f"no {name}"}.get(
            head, f"left the journey {name}"
        )

    def done(self, offered: Sequence[str], promised: Sequence[str], answered: Sequence[str], chosen: Sequence[str],
             note: str) -> str:  # fmt: skip
        told = (("offered", offered), ("promised", promised), ("decided", answered), ("the customer's choice", chosen))
        said = [f"{word}: {', '.join(items)}" for word, items in told if items]
        said += [f'note: "{note}"'] if note else []
        return f"{_raised('; '.join(said))}." if said else ""

    def cost(self, effort: Parts, hidden: Sequence[str]) -> str:
        counts = ", ".join(self._parts[name].format(_counted(name, count)) for name, count in effort)
        said = [f"effort of late: {counts}"] if counts else []
        said += [f"not visible here: {', '.join(hidden)}"] if hidden else []
        return f"{_raised('; '.join(said))}." if said else ""


def _counted(name: str, count: int) -> str:
    if name == "queue_minutes":
        return "1 minute" if count == 1 else f"{count} minutes"
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


class Chinese:
    """Simplified Chinese."""

    nothing = "目前没有关于该客户的任何信息。"
    no_journey = "该客户目前没有进行中的旅程。"
    _states: Final[Mapping[str, str]] = {"completed": "已完成", "failed": "失败", "skipped": "已跳过"}
    _parts: Final[Mapping[str, str]] = {
        "interactions": "联系{}次", "transfers": "被转接{}次", "repeats": "在同一渠道重复联系{}次",
        "switches": "更换渠道{}次", "abandoned": "中途放弃{}次", "loops": "兜圈子{}次",
        "failed_self_service": "自助未果{}次", "queue_minutes": "排队{}分钟",
    }  # fmt: skip

    def wants(self, title: str, standing: str, others: Sequence[str]) -> str:
        also = f"；另外：{'、'.join(others)}" if others else ""
        return f"客户想要：{title}（{standing}）{also}。"

    def standing(self, stalled: bool, stage: str, age: int) -> str:
        place = f"在 {stage} 阶段" if stage else ""
        return f"{_span(age)}前开始，{place}{'停滞' if stalled else '进行中'}"

    def step(self, channel: str, what: str, age: int) -> str:
        return f"{_span(age)}前在 {channel}：{what}" if channel else f"{_span(age)}前：{what}"

    def tried(self, steps: Sequence[str]) -> str:
        return f"到目前为止：{'；'.join(steps)}。"

    def failed(self, step: str, more: int) -> str:
        return f"共失败{more + 1}次，最近一次：{step}。" if more else f"失败1次：{step}。"

    def offer(self, touchpoint: str, kind: str, status: str, age: int) -> str:
        return f"{touchpoint} 的 {kind}（{self._states.get(status, status)}，{_span(age)}前）"

    def promise(self, what: str, channel: str, due_in: int) -> str:
        due = "" if not due_in else f"{_span(due_in)}后到期" if due_in > 0 else f"已逾期{_span(-due_in)}"
        where = "，".join(part for part in (f"在 {channel}" if channel else "", due) if part)
        return f"{what}（{where}）" if where else what

    def answer(self, touchpoint: str, question: str, answer: str, held_back: bool) -> str:
        if held_back:
            return f"{touchpoint} 的 {answer}（被共享规则拦下）"
        return f"{touchpoint} 选定 {answer}（{question}）"

    def choice(self, about: str, choice: str) -> str:
        head, _, name = about.partition(":")
        if not name:
            return f"首选 {choice}"
        return {
            "channel": f"不要通过 {name} 联系",
            "topic": f"不想收到关于 {name} 的信息",
            "purpose": f"不接受 {name}",
        }.get(head, f"已退出旅程 {name}")

    def done(self, offered: Sequence[str], promised: Sequence[str], answered: Sequence[str], chosen: Sequence[str],
             note: str) -> str:  # fmt: skip
        told = (("已提供", offered), ("已承诺", promised), ("已决定", answered), ("客户的选择", chosen))
        said = [f"{word}：{'、'.join(items)}" for word, items in told if items]
        said += [f"备注：“{note}”"] if note else []
        return f"{'；'.join(said)}。" if said else ""

    def cost(self, effort: Parts, hidden: Sequence[str]) -> str:
        counts = "，".join(self._parts[name].format(count) for name, count in effort)
        said = [f"客户近期的付出：{counts}"] if counts else []
        said += [f"此处不可见：{'、'.join(hidden)}"] if hidden else []
        return f"{'；'.join(said)}。" if said else ""


_LANGUAGES: Final[Mapping[str, Words]] = {"en": English(), "zh": Chinese()}
LANGUAGES: Final = tuple(_LANGUAGES)


def words_of(language: str) -> Words:
    """The words of a language, by its code or a longer one (`zh-CN`); English where it is not known."""
    return _LANGUAGES.get(language.lower().replace("_", "-").partition("-")[0], _LANGUAGES["en"])


def _lowered(title: str) -> str:
    """As within a sentence; an abbreviation at its beginning stays one."""
    return title[:1].lower() + title[1:] if title[1:2].islower() or len(title) == 1 else title


def _raised(said: str) -> str:
    return said[:1].upper() + said[1:]


def _span(microseconds: int) -> str:
    """A span for people, rounded as `ago` does."""
    seconds = max(0, microseconds) / SECOND
    if seconds < 90:
        return f"{max(1.0, seconds):.0f}秒"
    if seconds < 5400:
        return f"{seconds / 60:.0f}分钟"
    if seconds < 172_800:
        return f"{seconds / 3600:.0f}小时"
    return f"{seconds / 86_400:.0f}天"
