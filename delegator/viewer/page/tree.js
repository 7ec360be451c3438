// Who worked for whom: outcome, receipt, cost. The receipt is what was seen, not what was claimed.

const BRANCH = 52;

function treePart(run) {
  const list = virtualList({
    id: `tree-${run.key}`, name: "Agents", height: () => BRANCH, tall: 520,
    count: () => run.lanes.length,
    draw: (i) => branch(run.lanes[i]),
    pick: (i, how) => showAgent(run, run.lanes[i], how),
  });
  list.box.classList.add("tree");
  return list.box;
}

function branch(agent) {
  const name = agent.depth ? `${agent.id} ${text(agent.name)}` : text(agent.name);
  const node = el("div.branch", { "data-outcome": agent.outcome },
    el("div.branch-head", {}, el("b", {}, say(oneLine(name, 60))), badge(agent.outcome), verdictNode(agent), el("span.task", {}, say(oneLine(text(agent.task))))),
    el("div.branch-figures", {}, figuresOf(agent), " ", chip(labelOf(agent.label))),
  );
  node.style.setProperty("--depth", Math.min(agent.depth, 4));
  return node;
}

function verdictNode(agent) {
  const verdict = text(agent.verdict);
  return verdict ? el("span.verdict", {}, say(verdict)) : null;
}

function figuresOf(agent) {
  const parts = [plural(agent.calls, "model call"), plural(agent.tools, "tool call")];
  if (agent.failed) parts.push(`${number(agent.failed)} failed`);
  if (agent.sources.length) parts.push(`${plural(agent.sources.length, "passage")} opened`);
  if (agent.tokens) parts.push(plural(agent.tokens, "token"));
  if (agent.usd) parts.push(dollars(agent.usd));
  return [...parts, seconds(agent.end - agent.start)].join(" \u00b7 ");
}

function showAgent(run, agent, how) {
  const sent = run.messages.filter((one) => one.agent === agent.id && ["brief", "report"].includes(one.kind));
  const sources = agent.sources.map(([id, hash]) => el("li.mono", { title: plain(text(hash)) }, say(text(id)), ` ${text(hash).slice(0, 10)}`));
  const reviewer = run.byId.get(agent.reviewer);
  inspect(oneLine(agent.depth ? `${agent.id} ${text(agent.name)}` : text(agent.name), 60), [
    facts([
      ["Task", say(text(agent.task))],
      ["May read only", text(agent.source) ? say(text(agent.source)) : null],
      ["Below", agent.depth ? agentLink(run, run.byId.get(agent.below) ?? run.agents[0]) : null],
      ["Outcome", badge(agent.outcome)],
      ["Problem", text(agent.problem) ? say(text(agent.problem)) : null],
      ["Verdict", verdictNode(agent)],
      ["Reviewed by", reviewer ? agentLink(run, reviewer) : null],
      ["Feedback", text(agent.feedback) ? say(text(agent.feedback)) : null],
    ]),
    el("h3", {}, "Seen by the harness"),
    facts([
      ["From", `${seconds(agent.start)} to ${seconds(agent.end)}`],
      ["Model calls", number(agent.calls)],
      ["Tool calls", agent.failed ? `${number(agent.tools)}, ${number(agent.failed)} failed` : number(agent.tools)],
      ["Tokens", number(agent.tokens)],
      ["Cost", dollars(agent.usd)],
      ["Ended by", say(words(text(agent.stop)) || "\u2013")],
      ["Passages opened", sources.length ? el("ul.plain", {}, ...sources) : "none"],
    ]),
    el("h3", {}, "What its words are worth"),
    labelFacts(labelOf(agent.label)) ?? el("p", {}, "It reported nothing."),
    ...sent.map((one) => messageBody(run, one)),
    el("button.wide", { type: "button", click: () => onlyAgent(run, agent.id) }, "Its messages"),
  ], how);
}
