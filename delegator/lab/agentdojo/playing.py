"""Playing AgentDojo: which cases there are, and what comes of each.

AgentDojo's own loop books a failed request as a task not done and an attack that worked. Here it is an error, counted apart.
"""

from collections.abc import Iterable, Iterator, Sequence, Set
from typing import Any

from agentdojo.attacks.attack_registry import ATTACKS, load_attack
from agentdojo.task_suite.load_suites import get_suites

from delegator.errors import ConfigError
from delegator.lab.agentdojo import VERSIONS
from delegator.lab.agentdojo.element import Delegator, NotMeasured, Player
from delegator.lab.agentdojo.results import NONE, Case, Result
from delegator.sanitize import one_line


def suites(version: str, names: Sequence[str] = ()) -> dict[str, Any]:
    """The suites of a version, or those of these names.

    Raises:
        ConfigError: There is no such version or suite.
    """
    if version not in VERSIONS:
        raise ConfigError("AgentDojo has no such version", hint=f"Versions: {', '.join(VERSIONS)}.")
    found = get_suites(version)
    if missing := [name for name in names if name not in found]:
        raise ConfigError(
            f"AgentDojo has no suite {one_line(missing[0], 40)}",
            hint=f"Suites: {', '.join(found)}.",
        )
    return {name: suite for name, suite in found.items() if not names or name in names}


class Bout:
    """One player against one attack, on one version."""

    def __init__(self, player: Player, version: str, attack: str, names: Sequence[str]) -> None:
        """Get ready.

        Raises:
            ConfigError: There is no such version, suite or attack.
        """
        self.player = player
        self.version = version
        self.attack = attack
        self._suites = suites(version, names)
        self._attacks: dict[str, Any] = {}
        if attack != NONE and attack not in ATTACKS:
            raise ConfigError(
                "AgentDojo has no such attack", hint=f"Attacks: {', '.join(sorted(ATTACKS))}, none."
            )

    def cases(
        self, *, benign: bool = True, users: Sequence[str] = (), injections: Sequence[str] = ()
    ) -> list[Case]:
        """Every task as it is, if that is wanted, and every pair under attack; or those of these ids.

        Raises:
            ConfigError: There is no task of such an id.
        """
        found: list[Case] = []
        suites = self._suites.values()
        _require({id for suite in suites for id in suite.user_tasks}, users)
        _require({id for suite in suites for id in suite.injection_tasks}, injections)
        for name, suite in self._suites.items():
            for user in suite.user_tasks:
                if users and user not in users:
                    continue
                if benign or self.attack == NONE:
                    found.append(self._case(name, user, NONE))
                found += [self._case(name, user, i) for i in self._injections(suite, injections)]
        return found

    def _injections(self, suite: Any, wanted: Sequence[str]) -> Iterator[str]:
        if self.attack == NONE:
            return
        ids = list(suite.injection_tasks)
        if ATTACKS[self.attack].is_dos_attack:  # it does not matter what would be injected
            ids = ids[:1]
        yield from (id for id in ids if not wanted or id in wanted)

    def _case(self, suite: str, user: str, injection: str) -> Case:
        return Case(
            version=self.version,
            suite=suite,
            user_task=user,
            injection_task=injection,
            attack=NONE if injection == NONE else self.attack,
            model=self.player.model,
            level=self.player.level.value,
        )

    def play(self, cases: Iterable[Case]) -> Iterator[Result]:
        """What comes of each case, one after the other."""
        for case in cases:
            yield self._played(case)

    def _played(self, case: Case) -> Result:
        element, suite = Delegator(self.player), self._suites[case.suite]
        user = suite.get_user_task_by_id(case.user_task)
        injection, injected = None, dict[str, str]()
        if case.injection_task != NONE:
            injection = suite.get_injection_task_by_id(case.injection_task)
            injected = self._attack(case.suite, element).attack(user, injection)
        error = ""
        solved = attacked = False
        try:
            solved, attacked = suite.run_task_with_pipeline(element, user, injection, injected)
        except NotMeasured as failure:
            error = str(failure)
        if injection is None:  # nobody attacked, whatever it says
            attacked = False
        elif ATTACKS[case.attack].is_dos_attack and not error:
            attacked = not solved
        return _result(case, element, solved=solved, attacked=attacked, error=error)

    def _attack(self, suite: str, element: Delegator) -> Any:
        if suite not in self._attacks:
            self._attacks[suite] = load_attack(self.attack, self._suites[suite], element)
        return self._attacks[suite]


def _require(there: Set[str], wanted: Sequence[str]) -> None:
    """Make sure that every id that is wanted is there.

    Raises:
        ConfigError: One is not.
    """
    if missing := [id for id in wanted if id not in there]:
        raise ConfigError(
            f"AgentDojo has no task {one_line(missing[0], 40)} here",
            hint="Ids are like user_task_3 and injection_task_1.",
        )


def _result(case: Case, element: Delegator, *, solved: bool, attacked: bool, error: str) -> Result:
    answers = element.answers
    costs = [answer.usd for answer in answers]
    known = [cost for cost in costs if cost is not None]
    return Result(
        case=case,
        solved=bool(solved),
        attacked=bool(attacked),
        error=error,
        outcome=answers[-1].outcome.value if answers else "",
        model_calls=sum(answer.model_calls for answer in answers),
        tokens=sum(answer.usage.total for answer in answers),
        usd=round(sum(known), 6) if len(known) == len(costs) else None,
        seconds=round(sum(answer.seconds for answer in answers), 3),
    )
