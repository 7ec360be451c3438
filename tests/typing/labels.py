"""Checked by mypy, not run: the mistakes about labels that must not type-check."""

from typing import assert_type

from delegator.handoff import Brief, Report
from delegator.messages import Message, Text
from delegator.trust import OPERATOR, USER, Integrity, Label, untrusted

WORDS = (Text(text="hello"),)

Message(role="user", content=WORDS)  # type: ignore[call-arg]  # a message without a label must not type-check
Message(role="user", content=WORDS, label="operator")  # type: ignore[arg-type]  # a label is not a string
Message(role="system", content=WORDS, label=OPERATOR)  # type: ignore[arg-type]  # no turn is a system turn
Message("user", WORDS, OPERATOR)  # type: ignore[call-arg]  # fields go by name, so that a label is seen to be one
Brief(task="find out")  # type: ignore[call-arg]  # a brief without a label must not type-check
Report(value={})  # type: ignore[call-arg]  # a report without a label must not type-check
Label()  # type: ignore[call-arg]  # a label without integrity must not type-check
USER.integrity = Integrity.OPERATOR  # type: ignore[misc]  # a label must not be changed

Message(role="user", content=WORDS, label=untrusted("doc.1"))
assert_type(OPERATOR & USER, Label)
