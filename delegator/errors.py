"""Everything that can go wrong, as one tree.

    DelegatorError
    ├── ConfigError        wrong usage or configuration: exit status 2
    ├── ModelError         a model call failed; `fault` says how, `detail` is the peer's own words
    ├── HandoffRejected    a report or a tool's input does not fit its schema
    ├── LimitExceeded      a ceiling was reached; carries which, where and whose
    ├── ToolRejected       a tool call was wrong in a way that the model may mend
    └── GuardTripped       a request would have broken rule T1 or T2, and was not sent

Errors carry data and derive their prose. No prose quotes an untrusted value: it names a place and a rule.
"""

from enum import StrEnum


class DelegatorError(Exception):
    """The root of the tree. `str()` is one line; `hint` says what to do about it."""

    hint: str = ""


class ConfigError(DelegatorError):
    """Wrong usage or configuration, found before any model was asked."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Fault(StrEnum):
    """How a model call failed. A closed set: a server's own words never become a fault."""

    AUTH = "auth"
    NOT_FOUND = "not_found"
    BAD_REQUEST = "bad_request"
    RATE_LIMITED = "rate_limited"
    SPEND_LIMIT = "spend_limit"
    OVERLOADED = "overloaded"
    SERVER = "server"
    UNREACHABLE = "unreachable"
    SILENT = "silent"
    CUT = "cut"
    MALFORMED = "malformed"
    NOT_RECORDED = "not_recorded"


_FAULT_TEXT: dict[Fault, tuple[str, str]] = {
    Fault.AUTH: (
        "The model server refused the credentials.",
        "Check ANTHROPIC_API_KEY (and ANTHROPIC_BASE_URL), or use --offline.",
    ),
    Fault.NOT_FOUND: (
        "The model server does not know this model or address.",
        "Check --model and --base-url (the address without /v1).",
    ),
    Fault.BAD_REQUEST: (
        "The model server rejected the request as invalid.",
        "Run again with --verbose to see its words.",
    ),
    Fault.RATE_LIMITED: (
        "The model server is limiting the request rate.",
        "Wait, or lower --max-parallel.",
    ),
    Fault.SPEND_LIMIT: (
        "The account's spend limit is reached; waiting will not help.",
        "Raise the limit in the account's console.",
    ),
    Fault.OVERLOADED: ("The model server is overloaded.", "Try again in a moment."),
    Fault.SERVER: ("The model server failed internally.", "Try again in a moment."),
    Fault.UNREACHABLE: (
        "The model server cannot be reached.",
        "Check --base-url and the network, or use --offline.",
    ),
    Fault.SILENT: ("The model server stopped answering.", "Try again, or raise --max-seconds."),
    Fault.CUT: ("The model's reply was cut off before it ended.", "Try again."),
    Fault.NOT_RECORDED: (
        "The recording holds no further call.",
        "Resume the run to go on with a model.",
    ),
    Fault.MALFORMED: (
        "The model server answered with something that is not the Messages API.",
        "Check that --base-url points at a server that speaks /v1/messages.",
    ),
}


class ModelError(DelegatorError):
    """A model call failed.

    `detail` holds the server's own words: untrusted, for a person who asks (--verbose), never for a model.
    """

    def __init__(
        self,
        fault: Fault,
        *,
        status: int | None = None,
        detail: str = "",
        retry_after: float | None = None,
    ) -> None:
        text, self.hint = _FAULT_TEXT[fault]
        super().__init__(f"{text} (HTTP {status})" if status is not None else text)
        self.fault = fault
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
        """Seconds that the server asks to wait, if it does."""


class HandoffRejected(DelegatorError):
    """A value does not fit its schema. Each problem reads `path: rule` and quotes nothing."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Ceiling(StrEnum):
    """What can be limited."""

    TOKENS = "tokens"
    MODEL_CALLS = "model_calls"
    DELEGATIONS = "delegations"
    USD = "usd"
    SECONDS = "seconds"


RUN = "the run"
"""The owner of the limits that a person sets for a whole run."""
SESSION = "the session"
"""The owner of the limits that a person sets for all runs of a session together."""


class LimitExceeded(DelegatorError):
    """A ceiling was reached: `ceiling` of `limit`, set on `owner`."""

    def __init__(self, ceiling: Ceiling, limit: float, owner: str) -> None:
        super().__init__(
            f"{owner} reached its limit of {limit:,.10g} {ceiling.value.replace('_', ' ')}"
        )
        self.ceiling = ceiling
        self.limit = limit
        self.owner = owner
        option = f"--max-{ceiling.value.removeprefix('model_')}"
        if owner == SESSION:
            option = option.replace("--max", "--session")
        own = owner in (RUN, SESSION)
        whose = "Raise" if own else "It is a limit of that agent; the run's own is"
        self.hint = f"{whose} {option}."


class ToolRejected(DelegatorError):
    """A tool call the model may mend and repeat. The message reaches the model, so it is constant text."""


class GuardTripped(DelegatorError):
    """A request to a model would have carried untrusted text where only trusted text may stand."""

    def __init__(self, rule: str, place: str) -> None:
        super().__init__(f"rule {rule} would be broken at {place}; the request was not sent")
        self.rule = rule
        self.place = place
