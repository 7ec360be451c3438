"""Guards switched off one at a time: for each, some test must fail.

    python tests/mutants.py            all of them
    python tests/mutants.py T3 quote   those whose name holds one of the words

Works on a copy of the package. A mutant whose text is no longer in the code is an error, so that the list cannot rot.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Mutant:
    """A guard, how to switch it off, and where the test stands that must notice."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTANTS = (
    Mutant(
        "T1 guard compares the system text",
        "model.py",
        "if request.system not in self.prompts:",
        "if False:",
        "test_model.py",
    ),
    Mutant(
        "T2 guard looks at user turns",
        "model.py",
        'return GuardTripped("T2", f"message {i}")',
        "continue",
        "test_model.py",
    ),
    Mutant(
        "T2 an untrusted task goes into the brief",
        "subagent.py",
        'f"{TASK_HEAD}\\n\\n{brief.task}" if brief.label.trusted else _TASK_IN_BRIEF',
        'f"{TASK_HEAD}\\n\\n{brief.task}"',
        "test_subagent.py",
    ),
    Mutant(
        "T3 a subagent starts from its brief alone",
        "subagent.py",
        'opening = [Message(role="user", content=(Text(text=task),), label=label)]',
        "opening = KEPT = globals().setdefault('KEPT', []); "
        'opening.append(Message(role="user", content=(Text(text=task),), label=label))',
        "test_subagent.py",
    ),
    Mutant(
        "T4 what a loop read lowers its label",
        "loop.py",
        "        self.label &= label\n",
        "",
        "test_subagent.py",
    ),
    Mutant(
        "T4 what a subagent reports is untrusted",
        "records.py",
        "own = untrusted(self.id)\n        return own & self.report.label if self.report else own & self.label",
        "from delegator.trust import OPERATOR as own\n        return own",
        "test_subagent.py test_ladder.py",
    ),
    Mutant(
        "T6 a report without work is quarantined",
        "subagent.py",
        "if report is not None and self._unattested(watch):",
        "if False:",
        "test_subagent.py",
    ),
    Mutant(
        "T6 a source that was not opened is noticed",
        "subagent.py",
        "return self._idle(watch) or any(c.problem == NOT_OPENED for c in self.claims)",
        "return self._idle(watch)",
        "test_subagent.py",
    ),
    Mutant(
        "T6 a quarantined report is withheld",
        "records.py",
        "return self.report is not None and self.outcome is not Outcome.QUARANTINED",
        "return self.report is not None",
        "test_subagent.py",
    ),
    Mutant(
        "T7 a tool's own words stay out of its error",
        "tools.py",
        'return Attempt(None, f"the tool failed ({type(error).__name__})")',
        'return Attempt(None, f"the tool failed ({error})")',
        "test_loop.py",
    ),
    Mutant(
        "W1 a second malformed report is the last",
        "subagent.py",
        "if problems and not self.reminded:",
        "if problems:",
        "test_subagent.py",
    ),
    Mutant(
        "W1 what is good in a malformed report is kept",
        "handoff.py",
        "return Report(value=schema.canonical(kept), label=label) if kept else None",
        "return None",
        "test_subagent.py",
    ),
    Mutant(
        "W1 tool input is checked",
        "calls.py",
        "if problems := tool.schema.problems(use.input):",
        "if problems := ():",
        "test_loop.py",
    ),
    Mutant(
        "W5 a tool has a deadline",
        "tools.py",
        "async with asyncio.timeout(tool.seconds):",
        "async with asyncio.timeout(5):",
        "test_loop.py",
    ),
    Mutant(
        "W5 a loop has a deadline",
        "loop.py",
        "own = asyncio.timeout(seconds)",
        "own = asyncio.timeout(5)",
        "test_loop.py",
    ),
    Mutant(
        "W5 invalid calls do not go on for ever",
        "loop.py",
        "if self._invalid_replies >= MAX_INVALID_REPLIES:",
        "if False:",
        "test_loop.py",
    ),
    Mutant(
        "W5 a crash in one subagent stays there",
        "delegation.py",
        "except Exception as error:  # noqa: BLE001 - a model is foreign code; its siblings go on",
        "except ArithmeticError.__subclasses__()[0] as error:",
        "test_delegation.py",
    ),
    Mutant(
        "W3 a cancelled subagent is on record",
        "delegation.py",
        "                record.outcome = Outcome.CANCELLED\n",
        "                record.outcome = Outcome.COMPLETE\n",
        "test_orchestrator.py",
    ),
    Mutant(
        "B1 delegations are counted",
        "delegation.py",
        "        self.budget.open_delegation()\n        if not self.staff",
        "        if not self.staff",
        "test_delegation.py",
    ),
    Mutant(
        "B1 parallel subagents are bounded",
        "delegation.py",
        "asyncio.Semaphore(self.parallel)",
        "asyncio.Semaphore(99)",
        "test_delegation.py",
    ),
    Mutant(
        "revisions are bounded",
        "delegation.py",
        "if old.revision + old.failed_revisions >= MAX_REVISIONS:",
        "if False:",
        "test_delegation.py",
    ),
    Mutant(
        "a low review flags",
        "records.py",
        'return self.verdict != "accept" or self.score < LOWEST_ACCEPTED_SCORE',
        "return False",
        "test_delegation.py",
    ),
    Mutant(
        "a quote is compared with its source",
        "citations.py",
        "passage.sha256 != opened[source].sha256 or fold(quote) not in fold(passage.text)",
        "passage.sha256 != opened[source].sha256",
        "test_subagent.py",
    ),
    Mutant(
        "an unknown marker is marked",
        "citations.py",
        "            return UNSUPPORTED\n",
        '            return ""\n',
        "test_orchestrator.py",
    ),
    Mutant(
        "T4 findings nobody read lower the answer",
        "orchestrator.py",
        "            label &= record.worth()\n",
        "            label = ended.label\n",
        "test_hardening.py",
    ),
    Mutant(
        "T6 only an own tool that ran is work",
        "subagent.py",
        "return bool(self.agent.tools) and not watch.ran & set(self.agent.tool_names)",
        "return bool(self.agent.tools) and not watch.tool_calls",
        "test_hardening.py",
    ),
    Mutant(
        "T6 a report comes by itself",
        "loop.py",
        "if call.name == self.role.final_tool and results:",
        "if False:",
        "test_hardening.py",
    ),
    Mutant(
        "T6 a review that failed is no acceptance",
        "delegation.py",
        "            subject.review_failed = record.id\n",
        "",
        "test_hardening.py",
    ),
    Mutant(
        "T7 a tool's refusal is the tool's own word",
        "calls.py",
        'return untrusted(f"tool:{tool.name}", private=private)',
        "return OPERATOR",
        "test_hardening.py",
    ),
    Mutant(
        "T8 what is salvaged is cleaned",
        "handoff.py",
        "kept = schema.salvage(clean_json(value))",
        "kept = schema.salvage(value)",
        "test_hardening.py",
    ),
    Mutant(
        "B1 the person's reply ceiling holds",
        "budget.py",
        "return min(set_ones, default=None)",
        "return set_ones[0] if set_ones else None",
        "test_hardening.py",
    ),
    Mutant(
        "W5 a stuck tool holds nobody up",
        "tools.py",
        "daemon=True",
        "daemon=False",
        "test_hardening.py",
    ),
    Mutant(
        "W5 a crash hands over what was found",
        "orchestrator.py",
        "except Exception as error:  # noqa: BLE001 - what was found and paid for is still handed over",
        "except ZeroDivisionError as error:",
        "test_hardening.py",
    ),
    Mutant(
        "a failed revision replaces nothing",
        "records.py",
        'old.revised_by, old.failed_revisions = "", old.failed_revisions + 1',
        "old.failed_revisions += 1",
        "test_hardening.py",
    ),
    Mutant(
        "a claim's words cannot cite",
        "answer.py",
        'words = [f"{unmarked(claim.text)} [{claim.cite}]" for claim in record.verified]',
        'words = [f"{claim.text} [{claim.cite}]" for claim in record.verified]',
        "test_hardening.py",
    ),
    Mutant(
        "T2 an envelope is known by this run's nonce",
        "envelope.py",
        "return self._sealed.get(text[: self._nonce_ends]) == hash(text)",
        "return text.startswith((_JSON, _MARK))",
        "test_envelope.py test_model.py",
    ),
    Mutant(
        "T4 a join takes the lower integrity",
        "trust.py",
        "integrity=min(self.integrity, other.integrity)",
        "integrity=max(self.integrity, other.integrity)",
        "test_trust.py",
    ),
    Mutant(
        "T7 a missing field is named, not quoted",
        "schema.py",
        'yield f"{path}: no fields beyond the schema\'s"',
        'yield f"{path}: {error.message}"',
        "test_schema.py",
    ),
    Mutant(
        "B1 model calls are counted above too",
        "budget.py",
        "            node.model_calls += 1\n            node.held_tokens += tokens\n",
        "            node.held_tokens += tokens\n",
        "test_budget.py",
    ),
    Mutant(
        "wire: a call cut by max_tokens is dropped",
        "models/accumulate.py",
        "self._blocks.remove(self._unsure)",
        "pass",
        "test_accumulate.py",
    ),
    Mutant(
        "an answer is stripped of images and links",
        "answer.py",
        "safe = for_answer(text).strip()",
        "safe = text.strip()",
        "test_orchestrator.py",
    ),
    Mutant(
        "T2 once tripped, the guard stays shut",
        "model.py",
        "self.tripped = self.tripped or self._broken(request)",
        "self.tripped = self._broken(request)",
        "test_model.py test_trust_mistakes.py",
    ),
    Mutant(
        "marked: untrusted words stand in results only",
        "subagent.py",
        "    if not around.rung.inline:\n",
        "    if False:\n",
        "test_ladder.py",
    ),
    Mutant(
        "marked: an envelope is drawn anew while its text holds the nonce",
        "envelope.py",
        "        while nonce in held:\n",
        "        while False:\n",
        "test_ladder_properties.py",
    ),
    Mutant(
        "marked: fields stand between marks",
        "ladder.py",
        "encoding=Encoding.MARKED,",
        "encoding=Encoding.PLAIN,",
        "test_ladder.py",
    ),
    Mutant(
        "clean: invisible characters are taken out",
        "envelope.py",
        "        cleaned, removed = clean_counted(dict(data))\n",
        "        cleaned, removed = dict(data), 0\n",
        "test_ladder.py",
    ),
    Mutant(
        "clean: data that is not clean is not taken for clean",
        "sanitize.py",
        "return bool(_USUAL.match(encoded)) and",
        "return",
        "test_ladder.py",
    ),
    Mutant(
        "typed: what fits no schema is not shown",
        "shown.py",
        "Shown.FIELDS: _fields",
        "Shown.FIELDS: _words",
        "test_ladder.py",
    ),
    Mutant(
        "typed: a quote that is in no source is not shown",
        "shown.py",
        "claim.to_json() if claim.verified else claim.without_quote()",
        "claim.to_json()",
        "test_ladder.py",
    ),
    Mutant(
        "sealed: the orchestrator is shown references",
        "shown.py",
        "    if shown is Shown.REFERENCES:\n",
        "    if False:\n",
        "test_ladder.py",
    ),
    Mutant(
        "sealed: a reader sees one source",
        "delegation.py",
        "one = OneDocument(library, record.source)",
        "one = library",
        "test_ladder.py",
    ),
    Mutant(
        "sealed: a task is split over its sources",
        "delegation.py",
        "return self.staff.around.rung.one_source_each and reads_documents_only(agent)",
        "return False",
        "test_ladder.py",
    ),
    Mutant(
        "sealed: references are random",
        "delegation.py",
        "random=self._named_at_random",
        "random=False",
        "test_sealed.py",
    ),
    Mutant(
        "W2 a tool call is known by what it asks",
        "calls.py",
        "json.dumps([use.name, use.input], sort_keys=True)",
        "json.dumps([use.id], sort_keys=True)",
        "test_resume.py",
    ),
    Mutant(
        "W5 the events of a run that is refused end",
        "orchestrator.py",
        "                return await self._kept(answer)\n        finally:\n            self._events.put_nowait(None)\n",
        "                self._events.put_nowait(None)\n                return await self._kept(answer)\n        finally:\n            pass\n",
        "test_resume.py",
    ),
    Mutant(
        "W5 a delegation that is cancelled has an event for its end",
        "delegation.py",
        "                self._tell(_finished(record, record.outcome, record.receipt))\n",
        "",
        "test_faults.py",
    ),
    Mutant(
        "a pause longer than the run is not waited out",
        "models/claude.py",
        "or pause > request.patience",
        "",
        "test_faults.py",
    ),
    Mutant(
        "the end of the call before is marked for the cache",
        "models/claude.py",
        "turns[-2:]",
        "turns[-1:]",
        "test_claude.py",
    ),
    Mutant(
        "sealed: only a few values pass",
        "shown.py",
        'return "enum" in sub or sub.get("type") == "boolean" or few',
        "return True",
        "test_ladder.py test_sealed.py",
    ),
    Mutant(
        "sealed: earlier answers stay out",
        "orchestrator.py",
        "    if rung.shown is Shown.REFERENCES:\n        return",
        "    if False:\n        return",
        "test_ladder.py",
    ),
    Mutant(
        "sealed: findings stand under their source's name",
        "answer.py",
        'return "\\n".join(f"> {line}" for line in (source, *lines)) if lines else ""',
        'return "\\n".join(lines)',
        "test_sealed.py",
    ),
    Mutant(
        "sealed: quotes are shown, not a subagent's words",
        "answer.py",
        "{_words_of(claim.quote)} [{claim.cite}]",
        "{unmarked(claim.text)} [{claim.cite}]",
        "test_sealed.py",
    ),
    Mutant(
        "sealed: the orchestrator's numbers cite nothing",
        "answer.py",
        "own, _ = resolve(template, {})",
        "own = template",
        "test_sealed.py",
    ),
    Mutant(
        "sealed: an untrusted search is not put into a reader's mouth",
        "delegation.py",
        'seen = {"query": query, "limit": _HITS} if call.label.trusted else {}',
        'seen = {"query": query, "limit": _HITS}',
        "test_sealed.py",
    ),
    Mutant(
        "guarded: a policy decides",
        "policy.py",
        "    if not guarded or not effects.consequential:\n",
        "    if True:\n",
        "test_ladder.py",
    ),
    Mutant(
        "guarded: P-T, the author has read nothing untrusted",
        "policy.py",
        "    by_people = label.integrity >= Integrity.USER\n",
        "    by_people = True\n",
        "test_ladder.py",
    ),
    Mutant(
        "guarded: P-F, nothing goes where it is too secret for",
        "policy.py",
        "label.confidentiality <= effects.sink or not leaves",
        "True",
        "test_ladder.py",
    ),
    Mutant(
        "guarded: an approval holds for one call",
        "calls.py",
        "return await self.around.approve(asked) == asked.digest",
        "return bool(await self.around.approve(asked))",
        "test_ladder.py",
    ),
    Mutant(
        "guarded: a tool that says nothing may do anything",
        "tools.py",
        "    effects: Effects = UNDECLARED\n",
        "    effects: Effects = Effects()\n",
        "test_ladder.py",
    ),
    Mutant(
        "guarded: reading private documents is an effect",
        "policy.py",
        "return self.writes or self.sends or self.private",
        "return self.writes or self.sends",
        "test_ladder.py",
    ),
    Mutant(
        "guarded: passages of private documents are private",
        "tools.py",
        "private=any(p.private for p in passages)",
        "private=False",
        "test_policy.py",
    ),
    Mutant(
        "guarded: a denied search leaves private documents out",
        "delegation.py",
        "if not (open_only and hit.passage.private):",
        "if True:",
        "test_policy.py",
    ),
    Mutant(
        "planned: delegations are fixed",
        "policy.py",
        "    if effects.delegates and fixed_plan and not by_people:\n",
        "    if False:\n",
        "test_ladder.py test_sealed.py",
    ),
    Mutant(
        "planned: reviews are no choice",
        "delegation.py",
        "if not (planned and agent.reviews)",
        "if True",
        "test_sealed.py",
    ),
    Mutant(
        "an approval is shown safe for the terminal",
        "terminal/approvals.py",
        'for line in for_terminal(words).split("\\n"))',
        'for line in words.split("\\n"))',
        "test_policy.py",
    ),
    Mutant(
        "a quotation's words cannot cite",
        "sanitize.py",
        'words = _STRAY_ENTITIES.sub(lambda found: found["code"] or _plain_bracket(found), words)',
        "pass",
        "test_sealed.py test_sanitize.py",
    ),
    Mutant(
        "B1 the prompt is reserved too",
        "budget.py",
        "room = limit - taken - kept - worst.input_tokens",
        "room = limit - taken - kept",
        "test_budget.py",
    ),
    Mutant(
        "B1 money is reserved",
        "budget.py",
        "            room = min(room, left // each if each else (room if left >= 0 else -1))\n",
        "            pass\n",
        "test_budget.py",
    ),
    Mutant(
        "B1 who does not fit waits for siblings",
        "budget.py",
        "                raise Busy\n",
        "                continue\n",
        "test_budget.py",
    ),
    Mutant(
        "B1 what is given back wakes who waits",
        "budget.py",
        "        self._root.wake()\n",
        "        pass\n",
        "test_budget.py",
    ),
    Mutant(
        "B3 a last turn's share is left alone",
        "budget.py",
        "kept = 0 if free else self.kept_tokens",
        "kept = 0",
        "test_budget.py",
    ),
    Mutant(
        "B1 what was begun is paid for",
        "asking.py",
        "            if begun is not None:\n                reservation.settle(begun.owed)\n",
        "            pass\n",
        "test_faults.py",
    ),
    Mutant(
        "B4 a limit in dollars needs prices",
        "orchestrator.py",
        "        if setup.price_of(model) is None:\n",
        "        if False:\n",
        "test_worst_spenders.py",
    ),
    Mutant(
        "pace: a refusal halves what may run",
        "models/governor.py",
        "self.limit = max(min(self.limit, self.under_way) / 2, 1)",
        "pass",
        "test_governor.py",
    ),
    Mutant(
        "pace: a pause holds for everybody",
        "models/governor.py",
        "and self.clock() >= self.not_before",
        "",
        "test_governor.py",
    ),
    Mutant(
        "pace: a spend limit is final",
        "models/governor.py",
        "if error.fault not in _TRANSIENT or attempt >= ATTEMPTS:",
        "if attempt >= ATTEMPTS:",
        "test_governor.py",
    ),
    Mutant(
        "the orchestrator's context is bounded",
        "asking.py",
        "if most is not None and self._size.length(self.messages) > most:",
        "if False:",
        "test_trimming.py",
    ),
    Mutant(
        "reviews of one finding are bounded",
        "delegation.py",
        "or record.revision >= MAX_REVISIONS or",
        "or",
        "test_delegation.py",
    ),
    Mutant(
        "guarded: a critic's word reads nothing private again",
        "delegation.py",
        "replace(call, label=call.label & record.reviewed)",
        "call",
        "test_policy.py",
    ),
    Mutant(
        "W2 a call is on record before it is made",
        "recording.py",
        "        self.journal.opened(self.run, call, self._seq)\n        await self.journal.flush()\n",
        "        self.journal.opened(self.run, call, self._seq)\n",
        "test_resume.py",
    ),
    Mutant(
        "W2 another request is not the one on record",
        "recording.py",
        "if not self.replays and call.request != self.digest(request):",
        "if False:",
        "test_resume.py",
    ),
    Mutant(
        "W2 then nobody asks anything more",
        "recording.py",
        "        if self._differs:\n",
        "        if False:\n",
        "test_resume.py",
    ),
    Mutant(
        "W2 calls that brought nothing count",
        "recording.py",
        "return [call for call in self._calls.get(key, ()) if call is not kept]",
        "return []",
        "test_resume.py",
    ),
    Mutant(
        "W2 a delegation keeps its id",
        "recording.py",
        "self.journal.placed(self.run, path, id)",
        "pass",
        "test_resume.py",
    ),
    Mutant(
        "W2 an event is put down once",
        "recording.py",
        "        self._told[known] -= 1\n        return True",
        "        return False",
        "test_resume.py",
    ),
    Mutant(
        "W2 what was paid before counts",
        "orchestrator.py",
        "self._budget.charge(call.usage, price, below=self._setup.session)",
        "pass",
        "test_resume.py",
    ),
    Mutant(
        "W2 what a tool found is on record",
        "recording.py",
        "self.journal.ran(self.run, key, _attempt_to_json(done))",
        "pass",
        "test_resume.py",
    ),
    Mutant(
        "W2 what is drawn at random comes out again",
        "recording.py",
        'seed=bytes.fromhex(row["seed"]),',
        "seed=bytes(16),",
        "test_resume.py",
    ),
    Mutant(
        "W2 the chain goes on",
        "recording.py",
        'journal.continues(row["id"], events[-1]["chain"])',
        "pass",
        "test_resume.py",
    ),
    Mutant(
        "W2 who was stopped by a limit goes on",
        "recording.py",
        "(outcome is not Outcome.BUDGET or self._acted(event))",
        "True",
        "test_resume.py",
    ),
    Mutant(
        "W2 a failed resume leaves the answer alone",
        "recording.py",
        'self.journal is not None and answer.get("stop") != _NOT_ON_RECORD',
        "self.journal is not None",
        "test_resume.py",
    ),
    Mutant(
        "W2 before an effect all is on record",
        "calls.py",
        "            await recording.flush()\n",
        "            pass\n",
        "test_resume.py",
    ),
    Mutant(
        "W2 one process holds a run",
        "journal.py",
        "if not _locked(file.fileno()):",
        "if False:",
        "test_journal.py",
    ),
    Mutant(
        "W2 a lock that was taken away is none",
        "journal.py",
        "if not _is_still(path, file.fileno()):",
        "if False:",
        "test_journal.py",
    ),
    Mutant(
        "W5 what cannot be written is an error",
        "journal.py",
        '            self._failed = JournalError(f"cannot be written ({_why(error)})")\n',
        "            pass\n",
        "test_journal.py",
    ),
    Mutant(
        "W2 a changed event shows",
        "journal.py",
        'if chain != row["chain"]:',
        "if False:",
        "test_journal.py",
    ),
    Mutant(
        "W2 what others use is not forgotten",
        "journal.py",
        "delete from texts where hash not in (select result from tools)",
        "delete from texts",
        "test_journal.py",
    ),
    Mutant(
        "W2 only its owner reads the journal",
        "journal.py",
        "os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600",
        "os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644",
        "test_journal.py",
    ),
    Mutant(
        "W1 a report nested too deep is refused",
        "handoff.py",
        '        raise HandoffRejected(("$: nested too deep",)) from None\n',
        "        raise\n",
        "test_handoff.py test_ladder.py",
    ),
    Mutant(
        "lab: an attack that works past its stop breaks a promise",
        "lab/summary.py",
        "beyond = [level.value for level in at if not case.works_at(level)]",
        "beyond = list[str]()",
        "test_lab_report.py",
    ),
    Mutant(
        "lab: a level that lets more through than the one below breaks a promise",
        "lab/summary.py",
        "if above in at and below not in at:",
        "if False:",
        "test_lab_report.py",
    ),
    Mutant(
        "lab: a label that says too much breaks a promise",
        "lab/summary.py",
        "                if result.unsound:\n",
        "                if False:\n",
        "test_lab_report.py",
    ),
    Mutant(
        "lab: a run that ended in an error is no attack that failed",
        "lab/summary.py",
        "return [r for r in found if r.outcome not in (ERROR, NOT_APPLICABLE)]",
        "return found",
        "test_lab_runner.py",
    ),
    Mutant(
        "lab: the adaptive attacker is held to the level's promise",
        "lab/adaptive.py",
        "return levels.index(level) < levels.index(GOALS[goal][1])",
        "return True",
        "test_lab_report.py test_lab_adaptive.py",
    ),
    Mutant(
        "lab: all words come from the seed",
        "lab/words.py",
        'random.Random("/".join(map(str, seed)))',
        "random.Random()",
        "test_lab_cases.py",
    ),
    Mutant(
        "lab: what is drawn in a run comes from its words",
        "lab/world.py",
        "seed=seed[:16])",
        "seed=__import__('os').urandom(16))",
        "test_lab_world.py",
    ),
    Mutant(
        "lab: results of another plan are not mixed in",
        "lab/results.py",
        "if known and known != plan:",
        "if False:",
        "test_lab_runner.py",
    ),
    Mutant(
        "lab: complete results stand in the plan's order",
        "lab/runner.py",
        "    folder.settle(in_order)\n",
        "    pass\n",
        "test_lab_runner.py",
    ),
    Mutant(
        "lab: a run of a real model starts only if it fits",
        "lab/runner.py",
        "if self.tokens is not None and self.spent_tokens",
        "if False and self.spent_tokens",
        "test_lab_runner.py",
    ),
    Mutant(
        "lab: a real model is not held to what only an order can make it do",
        "lab/jobs.py",
        "if plan.real and (case.scripted or constructed):",
        "if False:",
        "test_lab_runner.py",
    ),
    Mutant(
        "lab: texts on the page are escaped",
        "lab/page.py",
        "{escape(one_line(item, 300))}",
        "{one_line(item, 300)}",
        "test_lab_report.py",
    ),
    Mutant(
        "lab: a document that is named alike is another one",
        "lab/judges.py",
        'return claim.place.rpartition(":")[0]',
        'return claim.place.rpartition(":")[0].rpartition(" ")[2]',
        "test_lab_world.py",
    ),
)


def killed(mutant: Mutant) -> bool:
    """Whether a test fails with the guard switched off."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "delegator"
        shutil.copytree(ROOT / "delegator", package)
        path = package / mutant.file
        source = path.read_text()
        if source.count(mutant.old) != 1:
            msg = f"{mutant.name}: stands {source.count(mutant.old)} times in {mutant.file}"
            raise SystemExit(msg)
        path.write_text(source.replace(mutant.old, mutant.new))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        command += ["-c", str(ROOT / "pyproject.toml")]
        done = subprocess.run(
            [*command, *(str(ROOT / "tests" / name) for name in mutant.tests.split())],
            env={**os.environ, "PYTHONPATH": folder},
            cwd=folder,  # `-m` puts it first on the path: the copy must win
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode == 1


def main(words: Iterable[str]) -> int:
    """Try the mutants whose name holds one of the words; how many survived."""
    chosen = [m for m in MUTANTS if not words or any(word in m.name for word in words)]
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(killed, chosen))
    for mutant, dead in zip(chosen, results, strict=True):
        print(f"{'killed  ' if dead else 'SURVIVED'}  {mutant.name}")
    survivors = results.count(False)
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants killed")
    return survivors


if __name__ == "__main__":
    raise SystemExit(1 if main(sys.argv[1:]) else 0)
