// Every message in the order in which it was sent: who to whom, what it is worth, what it says.

const ONE_LINE = 34;
const TWO_LINES = 46;
const NARROW = matchMedia("(max-width: 760px)"); // as in the style
const GROUPS = {
  "": "all",
  crossings: "what crossed a boundary",
  reply: "replies of models",
  result: "results of tools",
  decision: "decisions",
  trouble: "trouble",
};
const CROSSINGS = new Set(["question", "history", "brief", "report", "result", "answer"]);
const lists = new Map();

function messagesPart(run) {
  const view = { group: "", trust: "", agent: "", needle: "", shown: run.messages };
  const count = el("output.count", {});
  const list = virtualList({
    id: `messages-${run.key}`, name: "Messages", tall: 560,
    height: () => (NARROW.matches || RUNS.length > 1 ? TWO_LINES : ONE_LINE),
    count: () => view.shown.length,
    draw: (i) => line(view.shown[i], view.needle),
    pick: (i, how) => showMessage(run, view.shown[i], how),
  });
  list.box.classList.add("messages");
  const apply = () => {
    view.shown = filtered(run, view);
    count.textContent = view.shown.length === run.messages.length ? plural(run.messages.length, "message") : `${number(view.shown.length)} of ${plural(run.messages.length, "message")}`;
    list.refresh();
  };
  const agents = { "": "everyone", ...Object.fromEntries(run.lanes.map((agent) => [agent.id, plain(agent.depth ? `${agent.id} ${text(agent.name)}` : agent.id)])) };
  const trusts = { "": "any", operator: "operator", user: "user", untrusted: "untrusted", private: "private" };
  const choices = {
    group: choice(run, "Show", GROUPS, (value) => { view.group = value; apply(); }),
    trust: choice(run, "Trust", trusts, (value) => { view.trust = value; apply(); }),
    agent: choice(run, "Of", agents, (value) => { view.agent = value; apply(); }),
  };
  NARROW.addEventListener("change", list.refresh);
  lists.set(run.key, { run, view, list, apply, choices });
  apply();
  return el("div", {}, el("div.filters", {}, choices.group.node, choices.trust.node, choices.agent.node, count), list.box);
}

function choice(run, name, options, told) {
  const id = `${name.toLowerCase()}-${run.key}`;
  const select = el("select", { id, change: () => told(select.value) },
    ...Object.entries(options).map(([value, words]) => el("option", { value }, words)));
  return { node: el("span.choice", {}, el("label", { for: id }, name), select), select };
}

function filtered(run, view) {
  const matching = view.needle ? textsWith(view.needle) : null;
  return run.messages.filter((one) => inGroup(one, view.group) && ofTrust(one, view.trust) && (!view.agent || one.agent === view.agent) && (!matching || holds(one, matching)));
}

function inGroup(message, group) {
  switch (group) {
    case "": return true;
    case "crossings": return CROSSINGS.has(message.kind);
    case "trouble": return Boolean(text(message.problem));
    default: return message.kind === group;
  }
}

function ofTrust(message, trust) {
  const label = labelOf(message.label);
  return !trust || label?.integrity === trust || label?.confidentiality === trust;
}

/** Which texts hold some words: each text is looked at once, however many messages repeat it. */
function textsWith(needle) {
  DATA.lower ??= DATA.texts.map((one) => one.toLowerCase());
  return new Set(DATA.lower.flatMap((one, i) => (one.includes(needle) ? [i] : [])));
}

function holds(message, matching) {
  return [message.head, message.from, message.to, message.problem].some((i) => matching.has(i)) || message.body.some(([name, i]) => matching.has(i) || matching.has(name));
}

/** Search in all messages of all runs; the number of those found. */
function search(words) {
  let found = 0;
  for (const { view, apply } of lists.values()) {
    view.needle = words.trim().toLowerCase();
    apply();
    found += view.shown.length;
  }
  return found;
}

function onlyAgent(run, id) {
  const { view, apply, choices, list } = lists.get(run.key);
  view.agent = choices.agent.select.value = id;
  view.group = choices.group.select.value = "";
  view.trust = choices.trust.select.value = "";
  apply();
  list.box.closest("section").scrollIntoView();
  list.box.focus({ preventScroll: true });
}

function line(message, needle) {
  const label = labelOf(message.label);
  return el("div.message", { "data-trust": label?.integrity, "data-trouble": text(message.problem) ? "yes" : null },
    el("span.when", {}, seconds(message.at)),
    el("span.who", {}, say(`${text(message.from)} \u2192 ${text(message.to)}`, needle)),
    el("span.what", {}, el("b", {}, say(oneLine(text(message.head), 90), needle)), " ", say(preview(message, needle), needle)),
    el("span.worth", {}, chip(label)),
  );
}

/** The beginning of what a message says; if something is searched for, the place where it stands. */
function preview(message, needle) {
  const problem = text(message.problem);
  const said = message.body.map(([, i]) => text(i));
  const holding = needle ? said.find((one) => one.toLowerCase().includes(needle)) : undefined;
  if (holding === undefined) return oneLine(problem || said.find((one) => one.length > 3) || said[0] || "");
  const at = Math.max(holding.toLowerCase().indexOf(needle) - 40, 0);
  return (at ? "\u2026" : "") + oneLine(holding.slice(at));
}

function showMessage(run, message, how) {
  const agent = run.byId.get(message.agent);
  inspect(oneLine(text(message.head), 80), [
    facts([
      ["From", say(text(message.from))],
      ["To", say(text(message.to))],
      ["At", seconds(message.at)],
      ["Stands with", agent ? agentLink(run, agent) : null],
      ["Problem", text(message.problem) ? say(text(message.problem)) : null],
    ]),
    labelFacts(labelOf(message.label)),
    saidBy(message),
  ], how);
}

/** A message among the details of something else. */
function messageBody(run, message) {
  return el("section.inline", {}, el("h3", {}, say(oneLine(text(message.head), 80)), " ", chip(labelOf(message.label))),
    text(message.problem) ? el("p.check", { "data-tone": "bad" }, say(text(message.problem))) : null, saidBy(message));
}

function saidBy(message) {
  if (!message.body.length) return el("p.hint", {}, "Nothing of what it says is on record.");
  const needle = [...lists.values()][0]?.view.needle ?? "";
  return el("dl.said-list", {}, ...message.body.flatMap(([name, i]) => [el("dt", {}, say(text(name) || "text")), el("dd", {}, say(text(i), needle))]));
}
