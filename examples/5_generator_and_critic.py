"""A generator and a critic in a loop over one text, with a bounded number of rounds.

Look for: the critic's score is a bounded integer checked by schema. It decides when to stop trying, and nothing else.
The scripted model stands in for a language model, so that the loop can be seen without a key.
"""

import asyncio

import delegator
from delegator.models.scripted import Scripted, call

writer = delegator.Agent(
    name="writer", description="Writes.", prompt="You write one plain sentence on the task."
)
critic = delegator.shipped("critic")

DRAFTS = ["Tools are nice.", "An agent calls a tool when its own knowledge does not suffice."]
REVIEWS = [(2, "revise", "Say when an agent calls a tool."), (5, "accept", "")]
model = Scripted(
    {
        "writer": [call("submit_report", answer=draft) for draft in DRAFTS],
        "critic": [
            call("submit_report", score=score, verdict=verdict, feedback=feedback, issues=[])
            for score, verdict, feedback in REVIEWS
        ],
    }
)


async def main() -> None:
    """Write, review, and rewrite with the feedback until it is accepted."""
    task = "When does an agent call a tool?"
    for round_number in range(1, 4):
        draft = await delegator.run_agent(writer, task, model=model)
        text = draft.report.value["answer"] if draft.report else ""
        review = await delegator.run_agent(critic, f"Judge: {text}", model=model)
        verdict = review.report.value if review.report else {"score": 0, "verdict": "reject"}
        print(f"round {round_number}: {text} -> {verdict['score']}/5 {verdict['verdict']}")
        if verdict["verdict"] == "accept":
            break
        task = f"When does an agent call a tool? {verdict['feedback']}"


asyncio.run(main())
