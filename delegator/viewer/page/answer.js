// The question, and the answer sentence by sentence, each with what it rests on.

function answerPart(run) {
  if (!run.answer.length) return el("p.empty", {}, run.outcome ? "It ended without a text." : "It did not end, so there is no answer. delegator resume goes on from here.");
  const blocks = [];
  for (const block of run.answer) {
    const node = el(TAGS[block.kind], block.kind === "code" ? { tabindex: "0" } : {}, ...block.sentences.flatMap((one) => [sentenceNode(run, one, block.kind), " "]));
    const last = blocks.at(-1);
    const wanted = block.kind === "item" ? "UL" : "";
    const home = block.quoted ? quoteIn(blocks, last) : null;
    placed(home ? home : { children: blocks, append: (n) => blocks.push(n) }, node, wanted);
  }
  const hint = RUNS.length > 1 ? el("p.hint.beside", {}, "Marked: what only this answer says.") : null;
  return el("div", {}, hint, el("div.answer", {}, ...blocks));
}

const TAGS = { paragraph: "p", item: "li", heading: "h3", code: "pre" };

function quoteIn(blocks, last) {
  if (last?.tagName === "BLOCKQUOTE") return last;
  const quote = el("blockquote");
  blocks.push(quote);
  return quote;
}

/** Items of a list stand in one list. */
function placed(home, node, wanted) {
  const last = [...home.children].at(-1);
  if (!wanted) home.append(node);
  else if (last?.tagName === wanted) last.append(node);
  else home.append(el("ul", {}, node));
}

function sentenceNode(run, sentence, kind) {
  const parts = sentence.parts.map(([style, i]) => partNode(run, style, text(i)));
  const only = RUNS.length > 1 && !saidElsewhere(run).has(wordsOf(sentence)) ? "only" : null;
  if (kind === "code" || !sentence.cites.length) return el("span", { class: only }, ...parts);
  const node = el("span.sentence", {
    role: "button", tabindex: "0", "aria-pressed": "false",
    click: () => showEvidence(run, sentence, node, "mouse"),
    keydown: (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      showEvidence(run, sentence, node, "key");
    },
  }, ...parts);
  if (only) node.classList.add(only);
  return node;
}

/** What the answer of the other run says, sentence by sentence, whatever it cites for it. */
function saidElsewhere(run) {
  run.elsewhere ??= new Set(RUNS.filter((other) => other !== run).flatMap((other) => other.answer.flatMap((block) => block.sentences.map(wordsOf))));
  return run.elsewhere;
}

function wordsOf(sentence) {
  return sentence.parts.filter(([style]) => style !== "cite").map(([, i]) => text(i)).join(" ").replace(/\s+/g, " ").trim();
}

function partNode(run, style, words) {
  switch (style) {
    case "cite": return el("sup.cite", {}, ...words.match(/\d+/g).map((n) => citeNumber(run, Number(n))));
    case "doubt": return el("span.doubt", { title: "a marker that leads to no checked claim" }, "unsupported");
    case "strong": return el("strong", {}, say(words));
    case "code": return el("code", {}, say(words));
    default: return say(words);
  }
}

function citeNumber(run, n) {
  const found = run.citations.find((one) => one.n === n);
  return el("span", found && !found.verified ? { class: "unverified" } : {}, `[${n}]`);
}

function showEvidence(run, sentence, node, how) {
  document.querySelectorAll(".sentence[aria-pressed=true]").forEach((other) => other.setAttribute("aria-pressed", "false"));
  node.setAttribute("aria-pressed", "true");
  const cited = run.citations.filter((one) => sentence.cites.includes(one.n));
  inspect("What this rests on", cited.map((one) => evidence(run, one)), how);
}

function evidence(run, citation) {
  const check = citation.verified ? "The quote stands in its source, letter by letter." : "The quote was not found in its source.";
  return el("section.evidence", {},
    el("h3", {}, `[${citation.n}] `, say(text(citation.source))),
    el("blockquote.quote", {}, say(text(citation.quote))),
    el("p.check", { "data-tone": citation.verified ? "good" : "bad" }, check),
    citation.claim === null ? null : facts([["Claimed as", say(text(citation.claim))]]),
    el("h4", {}, "The way it took"),
    wayOf(run, citation),
    citation.passage === null ? null : passage(text(citation.passage), text(citation.quote)),
  );
}

/** From the source through everybody who handled it. */
function wayOf(run, citation) {
  const steps = [el("li", {}, "opened in ", say(text(citation.source)))];
  for (const id of citation.by) {
    const agent = run.byId.get(id);
    if (!agent) continue;
    steps.push(el("li", {}, "claimed by ", agentLink(run, agent), " ", chip(labelOf(agent.label))));
    for (const other of run.agents) {
      if (other.below !== id) continue;
      const reviewed = text(other.verdict);
      steps.push(el("li", {}, reviewed ? "reviewed by " : "revised by ", agentLink(run, other), reviewed ? `: ${reviewed}` : ""));
    }
  }
  steps.push(el("li", {}, "put into the answer by ", agentLink(run, run.agents[0])));
  return el("ol.way", {}, ...steps);
}

function agentLink(run, agent) {
  const name = agent.id === "orchestrator" ? agent.id : `${agent.id} ${text(agent.name)}`;
  return el("button.link", { type: "button", click: (event) => showAgent(run, agent, event.detail ? "mouse" : "key") }, say(name));
}

/** A passage with the quote marked in it, found as code found it: white space counts as one space. */
function passage(whole, quote) {
  const pattern = quote.trim().split(/\s+/).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("\\s+");
  const found = pattern ? whole.match(new RegExp(pattern, "u")) : null;
  const parts = found
    ? [...visible(whole.slice(0, found.index)), el("mark", {}, ...visible(found[0])), ...visible(whole.slice(found.index + found[0].length))]
    : visible(whole);
  return el("details.passage", {}, el("summary", {}, "The whole passage"), el("p", { dir: "auto" }, ...parts));
}

function sourcesPart(run) {
  if (!run.citations.length) return null;
  const items = run.citations.map((one) => el("li", {},
    el("span.n", {}, `[${one.n}]`),
    el("div", {}, el("span.source", {}, say(text(one.source))), " ", el("q", {}, say(text(one.quote))), one.verified ? null : el("strong.doubt", {}, " not found in its source")),
  ));
  return el("details.sources", { open: matchMedia("print").matches }, el("summary", {}, plural(run.citations.length, "source")), el("ol.plain", {}, ...items));
}
