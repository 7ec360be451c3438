// Two runs side by side: what differs first.

function differencesPart() {
  const found = DATA.differences;
  if (found === null) return el("p.empty", {}, "One of them has no answer, so there is nothing to compare word by word.");
  if (!found.length) return el("p.empty", {}, "Nothing differs: outcome, answer, citations, reports and reviews are the same.");
  const head = el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "what"), ...RUNS.map((run) => el("th", { scope: "col" }, runTag(run)))));
  const rows = found.map((one) => el("tr", {}, el("th", { scope: "row" }, say(text(one.what))), ...one.sides.map((side, i) => el("td", { "data-side": RUNS[i].key }, differing(text(side), text(one.sides[1 - i]))))));
  return el("div.differences", { tabindex: "0", role: "region", "aria-label": "What differs" }, el("table", {}, head, el("tbody", {}, ...rows)));
}

/** One side, from shortly before the place where the other begins to say something else. */
function differing(own, other) {
  if (!own) return el("span.hint", {}, "nothing");
  let same = 0;
  while (same < own.length && own[same] === other[same]) same += 1;
  const from = Math.max(same - LEAD, 0);
  return el("div", {}, from ? "\u2026" : "", say(own.slice(from, from + LONGEST)), own.length > from + LONGEST ? "\u2026" : "");
}

const LEAD = 40;
const LONGEST = 240;

function runTag(run) {
  return el("span.run-tag", { "data-side": run.key }, el("b", {}, run.key.toUpperCase()), " ", say(text(run.name)));
}
