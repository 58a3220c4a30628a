"""What a history has to be: every check by itself, over what clients were told and what the store holds in the end.

Owns the checks; each gives the anomalies it found, in words that begin with its name. They ask no hub.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing

from segue.domain.fact import ACTION, DECISION, EXPOSURE, LINK, RESERVATION, STATEMENTS, Fact
from segue.domain.identifier import Identifier, IdentifierKinds, parse_identifier
from segue.domain.plan import Plan
from segue.domain.section import encode
from segue.wire import facts_from_bytes
from segue_hub.services.contexts import Contexts
from segue_hub.services.plans import Plans
from segue_hub.storage.sqlite import SqliteStore

from tests import watch_checks
from tests.faults.histories.outcome import Outcome
from tests.faults.histories.plans import LATER, LIMIT, LISTS, NARROW, PEOPLE
from tests.faults.histories.rule import Rule
from tests.linking import folded, told

Log = list[tuple[int, Fact]]


def all_of(outcome: Outcome) -> list[str]:
    """What is wrong."""
    log, ends = outcome.log()
    kinds = _plan(outcome).kinds
    rule = Rule([(position, fact) for position, fact in log if fact.identifiers], ends, kinds)
    return [
        *kept(outcome, log), *once(outcome, log), *reads(outcome, log, rule), *streams(outcome, log, rule),
        *caps(outcome, log), *timers(outcome, log), *never_silent(outcome, log), *final(outcome, log, kinds),
    ]  # fmt: skip


def _plan(outcome: Outcome) -> Plan:
    with closing(SqliteStore(outcome.store)) as store:
        return Plan(json.loads(store.plan(store.plans()[-1].number).document))


def kept(outcome: Outcome, log: Log) -> list[str]:
    """Acknowledged, or journalled on a host, is in the log; so is every plan that was put in force."""
    there = {fact.id for _, fact in log}
    wrong = [f"kept: {id_.hex()} was acknowledged and is lost" for id_ in outcome.acknowledged if id_ not in there]
    journalled = {bytes.fromhex(id_) for lines in outcome.hosts for line in lines for id_ in line.get("kept", ())}
    wrong += [f"kept: {id_.hex()} was journalled and is lost" for id_ in journalled - there]
    for done in outcome.history.of("change", "ok"):
        ids = done.said["ids"]
        wrong += [f"kept: {id_} was taken from an administrator and is lost" for id_ in ids
                  if bytes.fromhex(id_) not in there and set(done.answer["statuses"]) == {1}]  # fmt: skip
    with closing(SqliteStore(outcome.store)) as store:
        digests = {plan.digest for plan in store.plans()}
    pushed = {done.answer["digest"] for done in outcome.history.of("push", "ok")}
    return wrong + [f"kept: plan {digest} was put in force and is lost" for digest in pushed - digests]


def once(outcome: Outcome, log: Log) -> list[str]:
    """Nothing is in the log twice, nothing that nobody told, nothing that was refused each time."""
    counted = Counter(fact.id for _, fact in log)
    wrong = [f"once: {id_.hex()} is in the log {count} times" for id_, count in counted.items() if count > 1]
    offered = {id_ for teller in outcome.tellers for id_ in teller.offered} | set(outcome.administered)
    offered |= {bytes.fromhex(line["told"]) for lines in outcome.hosts for line in lines if "told" in line}
    made = (RESERVATION, ACTION, DECISION, EXPOSURE)
    wrong += [
        f"once: nobody told {f.id.hex()} ({f.kind})" for _, f in log if f.id not in offered and f.kind not in made
    ]
    wrong += [f"once: {id_.hex()} was taken in a second time" for teller in outcome.tellers for id_ in teller.again]
    wrong += [
        f"kept out: {id_.hex()} was refused: {code}" for teller in outcome.tellers for id_, code in teller.rejected
    ]
    fates: dict[str, set[str]] = {}
    for done in outcome.history.of("publish"):
        for id_ in done.said["ids"]:
            fates.setdefault(id_, set()).add(done.outcome)
    there = {fact.id.hex() for _, fact in log}
    return wrong + [f"once: {id_} was refused each time, and is in the log" for id_, fate in fates.items()
                    if fate == {"fail"} and id_ in there]  # fmt: skip


def reads(outcome: Outcome, log: Log, rule: Rule) -> list[str]:
    """A read has, in order, the facts of its customer up to its version, all that was acknowledged before it began,
    and a version that is no lower than that of any read that had ended before.
    """
    wrong = []
    positions = {fact.id.hex(): position for position, fact in log}
    acknowledged = outcome.acknowledged
    names = {fact.id: fact.identifiers for _, fact in log}
    latest: dict[str, list[tuple[float, int]]] = {}
    for done in outcome.history.of("read", "ok"):
        name, version, said = done.said["name"], done.answer["version"], done.answer["ids"]
        theirs = rule.whose(parse_identifier(name), version)
        told = f"read of {name} at version {version}"
        if done.answer["facts"] != len(theirs):
            wrong.append(f"reads: {told} has {done.answer['facts']} facts, the log {len(theirs)}")
        if len(said) != len(set(said)):
            wrong.append(f"reads: {told} tells a fact twice")
        if name in LISTS:
            wanted = [f.id.hex() for f in theirs if f.kind not in (DECISION, LINK, RESERVATION)][-200:]
            if said != wanted:
                wrong.append(f"reads: {told} is no prefix: {len(said)} told, {len(wanted)} in the log by then")
            late = [id_ for id_, at in acknowledged.items() if at < done.began and positions.get(id_.hex(), 0) > version
                    and parse_identifier(name) in names[id_]]  # fmt: skip
            wrong += [f"reads: {told} lacks {id_.hex()}, acknowledged before" for id_ in late]
        older = max((v for ended, v in latest.get(name, ()) if ended < done.began), default=0)
        if version < older:
            wrong.append(f"reads: {told} comes after one of version {older}")
        latest.setdefault(name, []).append((done.ended, version))
    return wrong


def streams(outcome: Outcome, log: Log, rule: Rule) -> list[str]:
    """The six watch checks on every stream, and that nobody was told what the plan of its context hides."""
    wrong = []
    for watcher in outcome.watchers:
        for history in watcher.histories:
            found = watch_checks.ordered(history) + watch_checks.unique(history)
            found += watch_checks.atomic(history, log, rule.whose)
            for frame in history.frames():
                hidden = {section.name for section in frame.context.sections} - NARROW
                if frame.context.plan == outcome.narrow and hidden:
                    found.append(f"sections {sorted(hidden)} were told by a plan that does not grant them")
            wrong += [f"streams: {text}" for text in found]
        last = watcher.histories[-1]
        found = watch_checks.reliable(last, outcome.truth) + watch_checks.resumable(last, outcome.truth)
        wrong += [f"streams: {text}" for text in found + watch_checks.bookmarked(last)]
    return wrong


def caps(outcome: Outcome, log: Log) -> list[str]:
    """No grant that anybody was told finds more standing than the cap allows, for the customer known
    then; who sent had a grant; what was confirmed or given back is so in the log.
    """
    wrong, groups = [], dict[Identifier, int]()
    told = {done.said["id"] for done in outcome.history.of("reserve", "ok") if done.answer["granted"]}
    sent = [line["sent"] for lines in outcome.hosts for line in lines if line.get("sent")]
    said = [(p, f, f.properties.get("status")) for p, f in log if f.kind == RESERVATION]
    granted = {f.id.hex(): p for p, f, status in said if status == "granted"}
    released = {str(f.properties["reservation"]): p for p, f, status in said if status == "released"}
    standing: dict[str, Identifier] = {}
    for position, fact in log:
        found = {groups[name] for name in fact.identifiers if name in groups}
        for name in [*fact.identifiers, *(n for n, group in groups.items() if group in found)]:
            if name.kind in ("card", "tag"):
                groups[name] = min(found, default=position)
        if fact.id.hex() in granted:
            id_, mine = fact.id.hex(), groups[fact.identifiers[0]]
            standing[id_] = fact.identifiers[0]
            now = sum(groups[n] == mine and released.get(i, position + 1) > position for i, n in standing.items())
            # One that nobody was told of is a place that is spent: the hub died before it saw that there were too many.
            if now > LIMIT and (id_ in told or id_ in sent):
                fate = "sent into" if id_ in sent else "told"
                wrong.append(f"caps: grant {id_} at {position} is number {now} of {LIMIT} ({fate})")
    wrong += [f"caps: {id_} was granted, and the log has no such grant" for id_ in (told | set(sent)) - set(granted)]
    wrong += [f"caps: {id_} was used {n} times" for id_, n in Counter(sent).items() if n > 1]
    confirmed = {str(f.properties.get("reservation")) for _, f in log if f.kind == ACTION}
    for done in outcome.history.of("confirm", "ok"):
        if done.said["id"] not in confirmed:
            wrong.append(f"caps: {done.said['id']} was confirmed, and the log does not say so")
    for done in outcome.history.of("release", "ok"):
        if done.answer["released"] and done.said["id"] not in released:
            wrong.append(f"caps: {done.said['id']} was given back, and the log does not say so")
    return wrong


def timers(outcome: Outcome, log: Log) -> list[str]:
    """Who listens heard of every errand that waits, once by id, of its own instant where the hub knew of it before, and
    never before it by any clock of the hub's.
    """
    wrong = []
    there = {fact.id for _, fact in log}
    wanted = {name: at for name, (id_, at) in outcome.deadlines.items() if id_ in there}
    acknowledged = {done_id: done.wall for done in outcome.history.of("publish", "ok") for done_id in done.said["ids"]}
    first = {name: acknowledged.get(id_.hex(), 0) for name, (id_, _) in outcome.deadlines.items()}
    ahead = max(offset for _, _, offset in outcome.trouble.lives)
    for who, heard in outcome.listeners.items():
        by_id = {one.id: one for one in heard}
        by_name = Counter(one.name for one in by_id.values())
        wrong += [f"timers: {who} never heard of {name}" for name in wanted if not by_name[name]]
        wrong += [f"timers: {who} heard {n} times of {name}" for name, n in by_name.items() if n > 1]
        wrong += [f"timers: {who} heard that {one.name} left" for one in by_id.values() if one.left]
        lives = Counter((one.id, one.life) for one in heard)
        wrong += [f"timers: {who} heard {id_} {n} times in one life" for (id_, _), n in lives.items() if n > 1]
        for one in heard:
            deadline = wanted.get(one.name)
            if deadline is None:
                wrong.append(f"timers: {who} heard of {one.name}, of whom nobody told")
                continue
            if one.at > outcome.trouble.latest(one.wall):
                wrong.append(f"timers: {who} heard of {one.name} {one.at - one.wall} us before its time")
            known = 0 < first[one.name] + ahead < deadline
            if one.at < deadline or (known and one.at != deadline):
                wrong.append(f"timers: {who} heard that {one.name} waits since {one.at}, its deadline was {deadline}")
    return wrong


def never_silent(outcome: Outcome, log: Log) -> list[str]:
    """Each host that ended in good order had delivered all, or says what not; the sums are right."""
    wrong = []
    there = {fact.id.hex() for _, fact in log}
    for number, lines in enumerate(outcome.hosts):
        ended = [line for line in lines if "ended" in line]
        if not ended or ended[-1]["life"] != max(line["life"] for line in lines):
            wrong.append(f"never silent: host {number} did not end in good order")
            continue
        last = ended[-1]
        lost = sum(last["losses"].values())
        if last["offered"] != last["delivered"] + last["waiting"] + lost:
            wrong.append(f"never silent: host {number} counts {last}")
        told = {line["told"] for line in lines if "told" in line and line["life"] == last["life"]}
        missing = len(told - there)
        if missing > last["waiting"] + lost:
            wrong.append(f"never silent: host {number} lacks {missing} facts and tells of {last['waiting'] + lost}")
        if last["refused_here"]:
            wrong.append(f"never silent: host {number} could not tell {last['refused_here']}")
    return wrong


def final(outcome: Outcome, log: Log, kinds: IdentifierKinds) -> list[str]:
    """In the end customers are those of the naive rule, what is folded of each is the one fold of its facts, and that
    is what was read last.
    """
    wrong, later = list[str](), parse_identifier(LATER)
    own = {fact.id: fact for _, fact in log}
    facts = [without(fact, later if kinds.is_blocked(later) else None) for fact in own.values() if fact.identifiers]
    ruled = {who: [own[fact.id] for fact in theirs] for who, theirs in told(facts, kinds).customers.items()}
    with closing(SqliteStore(outcome.store)) as store:
        plans = Plans(store, lambda: 0)
        contexts = Contexts(store, plans, facts_from_bytes)
        found, after = dict[frozenset[tuple[Identifier, int]], int](), 0
        while numbers := store.customers(after, 500):
            after = numbers[-1]
            found |= {frozenset((n, k.since) for n, k in store.members(number)): number for number in numbers}
        aside = {members for members in found if {name for name, _ in members} == {later}}
        wrong += [f"final: the rule says that {_names(one)} are one" for one in set(ruled) - set(found)]
        wrong += [f"final: the hub says that {_names(one)} are one" for one in set(found) - set(ruled) - aside]
        for members, theirs in ruled.items():
            if members in found and theirs:
                content = encode(contexts.read(found[members]).content, plans.current)
                if content != folded(plans.current, members, theirs):
                    wrong.append(f"final: the context of {_names(members)} is not the fold of its facts")
    newest: dict[Identifier, tuple[int, list[Fact]]] = {}
    for members, theirs in ruled.items():
        for name, since in members:
            newest[name] = max(newest.get(name, (-1, [])), (since, theirs), key=lambda entry: entry[0])
    for name, last in outcome.final.items():
        wanted = sum(f.kind not in STATEMENTS for f in newest.get(parse_identifier(name), (0, []))[1])
        if last["facts"] != wanted:
            wrong.append(f"final: {name} was read with {last['facts']} facts, the rule says {wanted}")
    return wrong


def without(fact: Fact, blocked: Identifier | None) -> Fact:
    """A fact as it counts while an identifier stands for nobody."""
    names = tuple(name for name in fact.identifiers if name != blocked) or fact.identifiers
    if names == fact.identifiers:
        return fact
    return Fact(
        fact.id, fact.kind, fact.type, fact.occurred_at, fact.seq, names, fact.channel, fact.touchpoint,
        fact.interaction, fact.raw,
    )  # fmt: skip


def _names(members: frozenset[tuple[Identifier, int]]) -> str:
    return ", ".join(sorted(f"{name}@{since}" for name, since in members))


READ = [*LISTS, *PEOPLE]
"""Who is read in the end."""
