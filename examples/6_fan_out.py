"""Fan out over many tasks at once and fan in their results.

Look for: one failing or slow task does not stop the others; each result carries its own outcome.
"""

import asyncio

import delegator

TASKS = [
    "What is the Transformer?",
    "What is retrieval-augmented generation?",
    "What is prompt injection?",
    "What is the airspeed of an unladen swallow?",
]


async def main() -> None:
    """Run one researcher for each task, all at the same time."""
    researcher = delegator.shipped("researcher")
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(delegator.run_agent(researcher, task, offline=True)) for task in TASKS
        ]
    for task, done in zip(TASKS, running, strict=True):
        result = done.result()
        found = result.claims[0].text if result.claims else "not found in the documents"
        print(f"{result.outcome}: {task}\n    {found}")


asyncio.run(main())
