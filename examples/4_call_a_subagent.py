"""Call a subagent directly, as a function: no orchestrator, the same contract, quote check and receipt.

Look for: what it claims (`report`) and what was seen (`receipt`) are two things.
"""

import asyncio

import delegator

researcher = delegator.shipped("researcher")
result = asyncio.run(
    delegator.run_agent(researcher, "Who introduced the Transformer, and when?", offline=True)
)

for claim in result.claims:
    print("verified" if claim.verified else claim.problem, "|", claim.place, "|", claim.quote)
print(f"seen: {result.receipt.tool_calls} tool calls, {len(result.receipt.sources)} sources opened")
