// What was let through and what was not, and why; and how much crossed each boundary.

function decisionsPart(run) {
  const gates = run.messages.filter((one) => ["decision", "reminded", "call", "model_call_retried"].includes(one.kind) || (one.kind === "report" && text(one.problem)) || (one.kind === "noticed"));
  const list = gates.length
    ? el("ul.gates", {}, ...gates.slice(0, MOST_GATES).map((one) => gate(run, one)))
    : el("p.empty", {}, "Nothing was denied, withheld or asked for twice.");
  const more = gates.length > MOST_GATES ? el("p.hint", {}, `${number(gates.length - MOST_GATES)} more among the messages, under \u201ctrouble\u201d.`) : null;
  return el("div", {}, list, more, crossings(run));
}

const MOST_GATES = 25;

function gate(run, message) {
  const bad = Boolean(text(message.problem));
  const why = message.body.find(([name]) => ["why", "text"].includes(text(name)));
  const reason = message.kind === "decision" ? text(why?.[1]) : text(message.problem) || text(why?.[1]);
  return el("li", { "data-tone": bad ? "bad" : "good" },
    el("button.link", { type: "button", click: (event) => showMessage(run, message, event.detail ? "mouse" : "key") }, say(oneLine(text(message.head), 90))),
    " ", chip(labelOf(message.label)), el("div.reason", {}, `${seconds(message.at)} \u00b7 ${message.agent} \u00b7 `, say(oneLine(reason, 300))));
}

/** How many messages crossed from whom to whom, and the least that any of them was worth. */
function crossings(run) {
  const found = new Map();
  for (const one of run.messages) {
    if (!CROSSINGS.has(one.kind) || delegates(one)) continue;
    const key = `${side(run, text(one.from))} \u2192 ${side(run, text(one.to))}`;
    const entry = found.get(key) ?? { n: 0, removed: 0, trusts: new Map() };
    entry.n += 1;
    const label = labelOf(one.label);
    if (label) entry.trusts.set(`${label.integrity} ${label.confidentiality === "private"}`, label);
    found.set(key, entry);
  }
  const rows = [...found].map(([key, entry]) => el("tr", {}, el("th", { scope: "row" }, say(key)), el("td", {}, number(entry.n)), el("td", {}, ...[...entry.trusts.values()].flatMap((label) => [chip(label), " "]))));
  return el("table.crossings", {}, el("caption", {}, "What crossed which boundary"), el("thead", {}, el("tr", {}, ...["boundary", "messages", "worth"].map((words) => el("th", { scope: "col" }, words)))), el("tbody", {}, ...rows));
}

/** The result of a delegation hands on what its report brought: that crossing is counted there. */
function delegates(message) {
  return message.kind === "result" && text(message.head).startsWith("delegate_to_");
}

/** Agents by what they are, not by their number. */
function side(run, name) {
  const agent = run.byId.get(name);
  return agent ? text(agent.name) : name;
}
