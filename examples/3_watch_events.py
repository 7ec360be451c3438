"""Watch a run as it happens, and stop it when you have seen enough.

Look for: both researchers start before either has finished; cancelling keeps what is done.
"""

import asyncio

import delegator


async def main() -> None:
    """Print what each agent does, and cancel after the first finished delegation."""
    async with delegator.start("What is MCP and how does RAG work?", offline=True) as run:
        async for event in run:
            if event.kind in ("delegation_started", "tool_started", "delegation_finished"):
                print(f"{event.agent:>12}  {event.kind}")
            if event.kind == "delegation_finished":
                run.cancel()
        answer = await run.answer()
    print(answer.outcome)


asyncio.run(main())
