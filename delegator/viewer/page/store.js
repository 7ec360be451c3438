// The data of the page, and how its values read.

const DATA = JSON.parse(document.getElementById("data").textContent);
const RUNS = DATA.runs;
RUNS.forEach((run, i) => {
  run.key = "ab"[i];
  run.byId = new Map(run.agents.map((agent) => [agent.id, agent]));
  run.lanes = inTreeOrder(run);
});

const text = (i) => (i === null || i === undefined ? "" : DATA.texts[i]);
const labelOf = (i) => (i === null || i === undefined ? null : DATA.labels[i]);
const words = (name) => String(name).replaceAll("_", " ");
const number = (n) => n.toLocaleString("en-US");
const plural = (n, one) => `${number(n)} ${one}${n === 1 ? "" : "s"}`;
const dollars = (usd) => (usd === null || usd === undefined ? "not known" : usd ? `$${usd.toFixed(usd < 0.1 ? 4 : 2)}` : "$0");

function seconds(value) {
  if (value >= 120) return `${Math.floor(value / 60)} min${Math.round(value % 60) ? ` ${Math.round(value % 60)} s` : ""}`;
  if (value >= 10) return `${value.toFixed(1)} s`;
  return value >= 1 ? `${value.toFixed(2)} s` : `${Math.round(value * 1000)} ms`;
}

/** Agents with whom they stand below, from the top: reviews and revisions follow what they are about. */
function inTreeOrder(run) {
  const below = grouped(run.agents, (agent) => agent.below);
  const order = [];
  const waiting = [...(below.get("") ?? [])].reverse().map((agent) => [agent, 0]);
  while (waiting.length) {
    const [agent, depth] = waiting.pop();
    if (agent.depth !== undefined) continue; // a record that was tampered with may go round in circles
    agent.depth = depth;
    agent.row = order.push(agent) - 1;
    for (const child of [...(below.get(agent.id) ?? [])].reverse()) waiting.push([child, depth + 1]);
  }
  return order;
}

/** Things by what `key` says of them, in their order. */
function grouped(things, key) {
  const groups = new Map();
  for (const thing of things) {
    const name = key(thing);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(thing);
  }
  return groups;
}

/** What a text is worth, as colour and as words. */
function chip(label) {
  if (!label) return null;
  const secret = label.confidentiality === "private" ? el("span.secret", {}, "private") : null;
  return el("span.chip", { "data-trust": label.integrity, title: labelTitle(label) }, label.integrity, secret);
}

function labelTitle(label) {
  return `integrity ${label.integrity}, confidentiality ${label.confidentiality}, ${plural(label.sources.length, "source")}`;
}

const GOOD = new Set(["complete"]);
const BAD = new Set(["failed", "quarantined", "contract_failed", "refused"]);

/** How something ended, as colour and as words. */
function badge(outcome) {
  const tone = GOOD.has(outcome) ? "good" : BAD.has(outcome) ? "bad" : outcome ? "warn" : "open";
  return el("span.badge", { "data-tone": tone }, words(outcome || "did not end"));
}

function announce(message) {
  document.getElementById("status").textContent = message;
}
