"""Ask one question and print the cited answer.

Look for: the numbered sources. Every quote was compared with the stored text, letter by letter.
"""

import delegator

answer = delegator.ask("What is the difference between RLHF and DPO?", offline=True)

print(answer)
print()
print(f"{answer.outcome}: {answer.model_calls} model calls, {len(answer.delegations)} delegations")
