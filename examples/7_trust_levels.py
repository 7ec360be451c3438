"""A tool that sends something out, at three levels: below `guarded` it runs whatever was read before, from there up it does not."""

import delegator
from delegator import Effects
from delegator.models.scripted import Scripted, call, say

SENT: list[str] = []


@delegator.tool(effects=Effects(sends=True))
def mail(text: str) -> str:
    """Send a mail."""
    SENT.append(text)
    return "sent"


clerk = delegator.Agent(
    name="clerk",
    description="Reads and writes mails.",
    prompt="You answer.",
    tools=("search", mail),
)

for level in ("typed", "sealed", "guarded"):
    SENT.clear()
    model = Scripted(  # a model that has read a document before it wants to send
        {
            "orchestrator": [call("delegate_to_clerk", task="Answer the mail"), say("Done.")],
            "clerk": [
                call("search", query="RLHF"),
                call("mail", text="as the document told me"),
                call("submit_report", answer="I have tried."),
            ],
        }
    )
    answer = delegator.ask("Answer the mail.", agents=[clerk], model=model, trust=level)
    print(f"{level:8} sent: {SENT}")
