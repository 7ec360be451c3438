// The budget as it went down: what was spent, and what was held for calls under way.

const WIDE = 440;
const HIGH = 150;

function budgetPart(run) {
  return el("div.budget", {}, ceilings(run), burnDown(run));
}

const CEILINGS = { tokens: "tokens", usd: "dollars", model_calls: "model calls", delegations: "delegations", seconds: "time" };

function ceilings(run) {
  const rows = Object.entries(CEILINGS).filter(([name]) => name in run.budget.used || name in run.budget.limits).map(([name, words]) => {
    const used = run.budget.used[name];
    const limit = run.budget.limits[name];
    return el("tr", {}, el("th", { scope: "row" }, words), el("td", {}, amount(name, used)), el("td", {}, limit === undefined ? "no ceiling" : amount(name, limit)), el("td.meter-cell", {}, meter(used, limit, words)));
  });
  return el("table.ceilings", {}, el("thead", {}, el("tr", {}, ...["", "used", "ceiling", "share"].map((words) => el("th", { scope: "col" }, words)))), el("tbody", {}, ...rows));
}

function amount(name, value) {
  if (value === undefined) return "not known";
  return name === "seconds" ? seconds(value) : name === "usd" ? dollars(value) : number(value);
}

function meter(used, limit, words) {
  if (used === undefined || limit === undefined) return "";
  const share = Math.min(used / limit, 1);
  const fill = el("span.fill", {});
  fill.style.width = `${100 * share}%`;
  const percent = share > 0 && share < 0.01 ? "< 1 %" : `${Math.round(100 * share)} %`;
  return el("span.meter", { role: "img", "aria-label": `${percent} of ${words}`, "data-full": share > 0.9 ? "yes" : null }, fill, el("span.percent", {}, percent));
}

/** Tokens where a model uses any, else calls. The ceiling itself is drawn where it is near. */
function burnDown(run) {
  const tokens = run.budget.points.some(([, spent, held]) => spent + held > 0);
  const points = run.budget.points.map(([at, spent, held, , calls]) => (tokens ? [at, spent, held] : [at, calls, 0]));
  if (!points.length) return el("p.empty", {}, "No model was asked.");
  const limit = run.budget.limits[tokens ? "tokens" : "model_calls"];
  const peak = Math.max(...points.map(([, spent, held]) => spent + held));
  const near = limit !== undefined && peak > limit / 8;
  const top = near ? limit : niceStep(peak || 1);
  const caption = near ? "left under the ceiling" : limit === undefined ? "used" : `used; the ceiling of ${number(limit)} is far above`;
  const y = (value) => HIGH - (HIGH * Math.max(near ? limit - value : value, 0)) / top;
  const x = (at) => (WIDE * at) / (run.time.seconds || 1);
  const picture = svg("svg.chart", { viewBox: `0 0 ${WIDE} ${HIGH + 22}`, role: "img", "aria-label": `${tokens ? "Tokens" : "Model calls"} ${caption}` },
    ...[0, 0.5, 1].map((share) => gridLine(top * share, HIGH - HIGH * share)),
    svg("path.held", { d: area(points, x, (p) => y(p[1]), (p) => y(p[1] + p[2])) }),
    svg("path.spent", { d: steppedLine(points, x, (p) => y(p[1]), y(0)) }),
    ...[0, 0.5, 1].map((share) => svg("text", { x: WIDE * share, y: HIGH + 16, "text-anchor": ["start", "middle", "end"][share * 2] }, seconds(run.time.seconds * share))));
  const keys = el("p.keys", {}, el("span.key", {}, el("span.swatch.spent"), `${tokens ? "tokens" : "model calls"} ${caption}`), tokens ? el("span.key", {}, el("span.swatch.held"), "held for calls under way, at their worst case") : null);
  return el("figure", {}, picture, el("figcaption", {}, keys, tokens ? null : el("p.hint", {}, "This model uses no tokens, so nothing is held.")));
}

function gridLine(value, at) {
  return svg("g.grid", {}, svg("line", { x1: 0, x2: WIDE, y1: at, y2: at }), svg("text", { x: WIDE - 2, y: at + (at < 12 ? 12 : -4), "text-anchor": "end" }, number(Math.round(value))));
}

function steppedLine(points, x, y, start) {
  let path = `M0 ${start.toFixed(1)}`;
  for (const point of points) path += `H${x(point[0]).toFixed(1)}V${y(point).toFixed(1)}`;
  return `${path}H${WIDE}`;
}

function area(points, x, near, far) {
  let there = "";
  let back = "";
  points.forEach((point, i) => {
    const from = x(point[0]).toFixed(1);
    const to = (i + 1 < points.length ? x(points[i + 1][0]) : WIDE).toFixed(1);
    there += `${i ? "L" : "M"}${from} ${near(point).toFixed(1)}H${to}`;
    back = `L${to} ${far(point).toFixed(1)}H${from}${back}`;
  });
  return `${there}${back}Z`;
}
