// All agents in time. A lane for each, in the order of the tree; what the run could not have ended without is drawn strongest.

const LANE = 26;
const MOST_ZOOM = 256;
const MOST_SLOTS = 4;
const SAME = 1e-4; // seconds: times on record have four digits
const KINDS = { model: "model call", tool: "tool call", wait: "waits for subagents", own: "delegator itself" };

function timelinePart(run) {
  const total = run.time.seconds || 1;
  const spans = grouped(run.time.spans, (span) => span.agent);
  const path = grouped(run.time.path, ([agent]) => agent);
  const list = virtualList({
    id: `lanes-${run.key}`, name: "Timeline: agents", height: () => LANE, tall: 430,
    count: () => run.lanes.length,
    draw: (i) => lane(run, run.lanes[i], spans, path, total),
    pick: (i, how) => {
      bringIntoSight(run, run.lanes[i].start, run.lanes[i].end);
      showAgent(run, run.lanes[i], how);
    },
    keys: (event, i) => stepThrough(run, spans.get(run.lanes[i]?.id) ?? [], event),
  });
  list.box.classList.add("lanes");
  const changes = steps(run, total);
  const links = el(changes.length > 80 ? "div.links.many" : "div.links", { "aria-hidden": "true" }, ...changes);
  list.rows.append(links);
  const ticks = el("div.track", {}, ...ticksOf(total, run.time.breaks, 1));
  list.box.prepend(el("div.axis", { "aria-hidden": "true" }, ticks));
  const zoomed = (zoom) => ticks.replaceChildren(...ticksOf(total, run.time.breaks, zoom));
  return el("div", {}, legend(run), zoomBar(list, zoomed), list.box);
}

function lane(run, agent, spans, path, total) {
  const own = spans.get(agent.id) ?? [];
  const track = el("div.track", {});
  if (agent.depth) {
    const asked = run.askedAt?.get(agent.asked) ?? agent.start;
    if (agent.start - asked > total / 500) track.append(bar("queue", asked, agent.start, total, "waits for its turn"));
    track.append(bar("life", agent.start, agent.end, total, ""));
  }
  for (const [span, slot, deep] of sideBySide(own)) track.append(spanBar(run, span, total, slot, deep));
  for (const [, , start, end] of path.get(agent.id) ?? []) track.append(bar("critical", start, end, total, ""));
  const name = el("span.lane-name", {}, el("b", {}, agent.depth ? agent.id : ""), " ", say(oneLine(text(agent.name), 40)));
  name.style.paddingInlineStart = `${Math.min(agent.depth, 4) * 10}px`;
  return el("div.lane", { "aria-label": laneTitle(run, agent, own), "data-outcome": agent.outcome }, name, track);
}

function laneTitle(run, agent, own) {
  const calls = own.filter((span) => span.kind === "model").length;
  return plain(`${agent.id} ${text(agent.name)}, from ${seconds(agent.start)} to ${seconds(agent.end)}, ${plural(calls, "model call")}, ${words(agent.outcome || "did not end")}`);
}

/** What an agent does at the same time stands one above the other, as far as there is room. */
function sideBySide(spans) {
  const placed = [];
  let together = [];
  let until = -Infinity;
  const settle = () => {
    const deep = Math.min(together.length, MOST_SLOTS);
    together.forEach((span, i) => placed.push([span, i % MOST_SLOTS, deep]));
  };
  for (const span of spans) {
    if (span.start >= until - SAME) {
      settle();
      together = [];
    }
    together.push(span);
    until = Math.max(until, span.end);
  }
  settle();
  return placed;
}

function spanBar(run, span, total, slot, deep) {
  const node = bar(span.kind, span.start, span.end, total, spanTitle(span));
  if (deep > 1) {
    node.style.top = `${4 + (slot * 16) / deep}px`;
    node.style.height = `${16 / deep - 1}px`;
  }
  if (text(span.state)) node.classList.add("trouble");
  node.addEventListener("click", (event) => {
    event.stopPropagation();
    showSpan(run, span, "mouse");
  });
  return node;
}

function spanTitle(span) {
  const what = span.kind === "model" ? `model call ${span.n}` : text(span.name);
  const state = text(span.state);
  return plain(`${what}, ${seconds(span.end - span.start)}, from ${seconds(span.start)}${state ? `: ${state}` : ""}`);
}

function bar(kind, start, end, total, title) {
  const node = el(`span.bar.${kind}`, title ? { title } : {});
  node.style.left = `${(100 * start) / total}%`;
  node.style.width = `${(100 * (end - start)) / total}%`;
  return node;
}

/** Where the critical path goes from one agent to another. */
function steps(run, total) {
  const nodes = [];
  for (let i = 1; i < run.time.path.length; i += 1) {
    const [before, , , at] = run.time.path[i - 1];
    const [after] = run.time.path[i];
    const rows = [run.byId.get(before)?.row, run.byId.get(after)?.row];
    if (before === after || rows.includes(undefined)) continue;
    const link = el("span.link-down");
    link.style.left = `${(100 * at) / total}%`;
    link.style.top = `${(Math.min(...rows) + 0.72) * LANE}px`;
    link.style.height = `${Math.abs(rows[0] - rows[1]) * LANE}px`;
    nodes.push(link);
  }
  return nodes;
}

function ticksOf(total, breaks, zoom) {
  const step = timeStep(total / 6 / zoom);
  const ticks = [];
  for (let i = 0; i * step <= total * 1.0001; i += 1) {
    const at = i * step;
    const tick = el("span.tick", {}, seconds(at));
    tick.style.left = `${(100 * at) / total}%`;
    if (at > total * (1 - 0.07 / zoom)) tick.classList.add("last");
    ticks.push(tick);
  }
  for (const at of breaks) {
    const mark = el("span.tick.break", { title: "resumed here" }, "resumed");
    mark.style.left = `${(100 * at) / total}%`;
    ticks.push(mark);
  }
  return ticks;
}

/** Steps that a clock has: of minutes, where seconds are too many. */
function timeStep(rough) {
  return rough > 30 ? niceStep(rough / 60) * 60 : niceStep(rough);
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
}

function legend(run) {
  const total = run.time.seconds || 1;
  const shares = Object.entries(run.time.shares).sort((a, b) => b[1] - a[1]).filter(([, s]) => s / total > 0.005);
  const said = shares.map(([kind, s]) => `${KINDS[kind]} ${Math.round((100 * s) / total)} %`).join(", ");
  const key = ["model", "tool", "wait", "queue", "critical"].map((kind) =>
    el("span.key", {}, el(`span.swatch.${kind}`), { ...KINDS, queue: "waits for its turn", critical: "critical path" }[kind]));
  return el("div.legend", {}, el("p", {}, shares.length ? `Of the critical path: ${said}.` : "Nothing took any time."), el("p.keys", {}, ...key));
}

function zoomBar(list, zoomed) {
  let zoom = 1;
  const shown = el("span", {}, "1\u00d7");
  const to = (next) => {
    const middle = (list.box.scrollLeft + list.box.clientWidth / 2) / list.box.scrollWidth;
    zoom = Math.max(1, Math.min(next, MOST_ZOOM));
    list.box.style.setProperty("--zoom", zoom);
    shown.textContent = `${zoom}\u00d7`;
    zoomed(zoom);
    list.box.scrollLeft = middle * list.box.scrollWidth - list.box.clientWidth / 2;
  };
  list.box.addEventListener("keydown", (event) => {
    if (event.key === "+" || event.key === "=") to(zoom * 2);
    if (event.key === "-") to(zoom / 2);
  });
  return el("div.zoom", {},
    el("button.quiet", { type: "button", "aria-label": "Zoom out", click: () => to(zoom / 2) }, "\u2212"), shown,
    el("button.quiet", { type: "button", "aria-label": "Zoom in", click: () => to(zoom * 2) }, "+"));
}

/** Where the timeline is zoomed, what is chosen comes into sight. */
function bringIntoSight(run, start, end) {
  const box = document.getElementById(`lanes-${run.key}`);
  const track = box.querySelector(".axis .track");
  const at = (track.offsetWidth * (start + end)) / 2 / (run.time.seconds || 1);
  if (box.scrollWidth > box.clientWidth) box.scrollLeft = track.offsetLeft + at - box.clientWidth / 2;
}

/** Left and right go from bar to bar of one agent. */
function stepThrough(run, spans, event) {
  const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!way || !spans.length) return false;
  const at = spans.indexOf(run.span);
  const next = spans[at < 0 ? (way > 0 ? 0 : spans.length - 1) : Math.max(0, Math.min(at + way, spans.length - 1))];
  bringIntoSight(run, next.start, next.end);
  showSpan(run, next, "walk");
  event.preventDefault();
  return true;
}

function showSpan(run, span, how) {
  run.span = span;
  const agent = run.byId.get(span.agent);
  const waited = run.agents.filter((one) => one.asked && one.asked === span.call);
  const messages = run.messages.filter((one) => belongs(one, span));
  const title = span.kind === "model" ? `Model call ${span.n}` : text(span.name);
  inspect(oneLine(title, 60), [
    facts([
      ["Agent", agent ? agentLink(run, agent) : span.agent],
      ["From", `${seconds(span.start)} to ${seconds(span.end)}`],
      ["Took", seconds(span.end - span.start)],
      ["Ended", text(span.state) ? say(text(span.state)) : null],
      ["Waited for", waited.length ? el("ul.plain", {}, ...waited.map((one) => el("li", {}, agentLink(run, one), ` ${seconds(one.end - one.start)}`))) : null],
    ]),
    ...messages.map((one) => messageBody(run, one)),
  ], how);
  if (how === "walk") announce(spanTitle(span));
}

function belongs(message, span) {
  if (message.agent !== span.agent) return false;
  return span.kind === "model" ? ["reply", "call"].includes(message.kind) && message.n === span.n : Boolean(span.call) && message.call === span.call;
}
