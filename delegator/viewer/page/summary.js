// What is to be known of a run at one glance.

function summaryPart(run) {
  const label = labelOf(run.label);
  const facts = [
    ["Outcome", badge(run.outcome)],
    ["Level", run.level],
    ["Model", say(text(run.model) || "unknown")],
    ["Time", seconds(run.time.seconds)],
    ["Agents", number(run.agents.length - 1)],
    ["Model calls", number(run.calls)],
    ["Tokens", number(run.tokens)],
    ["Cost", run.usd === undefined ? "not known yet" : dollars(run.usd)],
    ["Answer is worth", chip(label) ?? "\u2013"],
  ];
  return el("div", {}, el("dl.figures", {}, ...facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))), ...warnings(run));
}

function warnings(run) {
  const found = [];
  if (run.replay) found.push("A replay, without a model: its calls take no time, and what is not on record fails.");
  if (run.broken !== null) found.push(`The record was changed: event ${run.broken} does not follow from the one before it.`);
  if (!run.outcome) found.push("The run did not end. What is on record is shown as far as it goes.");
  if (run.time.breaks.length) found.push(`It was resumed ${run.time.breaks.length === 1 ? "once" : `${run.time.breaks.length} times`}; the time between is left out.`);
  const doubtful = run.citations.filter((one) => !one.verified).length;
  if (doubtful) found.push(`${plural(doubtful, "quote")} could not be found in the source that ${doubtful === 1 ? "it names" : "they name"}.`);
  return found.map((words) => el("p.warning", {}, words));
}
