"""Add a subagent of your own: a prompt, a tool, and it becomes `delegate_to_calculator`.

Look for: the receipt. It is what the harness saw the subagent do, not what the subagent says.
"""

import delegator


@delegator.tool
def add(numbers: list[float]) -> float:
    """Add some numbers."""
    return sum(numbers)


calculator = delegator.Agent(
    name="calculator",
    description="Calculates, for questions that a calculator can answer.",
    prompt="You calculate with your tools and report the result.",
    tools=("search", add),
)

answer = delegator.ask(
    "Ask the calculator how BM25 adds up a score.", agents=[calculator], offline=True
)
print(answer.text)
for delegation in answer.delegations:
    receipt = delegation.receipt
    print(delegation.id, delegation.agent.name, delegation.outcome, receipt and receipt.tool_calls)
