// The page: sections in reading order, the bar on top, and the keys.

const SECTIONS = [
  ["answer", "Answer", (run) => el("div", {}, answerPart(run), sourcesPart(run))],
  ["timeline", "Timeline", timelinePart],
  ["tree", "Agents", treePart],
  ["messages", "Messages", messagesPart],
  ["budget", "Budget", budgetPart],
  ["decisions", "Decisions", decisionsPart],
];

const KEYS = [
  ["/", "search in all messages"],
  ["j k \u2193 \u2191", "next and previous row"],
  ["\u2192 \u2190", "next and previous bar of an agent"],
  ["+ \u2212", "zoom the timeline"],
  ["Enter", "show details"],
  ["Esc", "close details, clear the search"],
  ["1 \u2026 6", "go to a section"],
  ["t", "light, dark, or as the system has it"],
  ["?", "this help"],
];

function draw() {
  const asked = RUNS[0];
  document.title = plain(`${text(asked.question)} \u2013 delegator`).slice(0, 120);
  const main = document.getElementById("main");
  for (const run of RUNS) run.askedAt = new Map(run.time.spans.filter((span) => span.call).map((span) => [span.call, span.start]));
  main.append(head(asked), ...summaries(), ...SECTIONS.map(([id, title, part]) => section(id, title, part)));
  document.body.classList.toggle("two", RUNS.length > 1);
  topBar();
  helpDialog();
  inspector.append(el("p.hint", {}, "Choose a sentence, a bar, an agent or a message to see where it comes from."));
  if (matchMedia("(min-width: 1180px)").matches && RUNS.length === 1) showFirst();
}

function head(run) {
  const when = new Date(run.started * 1000);
  const day = Number.isNaN(when.getTime()) ? "" : when.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  return el("div.head", {}, el("p.when-run", {}, el("span.mono", {}, say(text(run.id))), ` \u00b7 ${day}`), el("h1", {}, say(text(run.question))));
}

function summaries() {
  if (RUNS.length === 1) return [summaryPart(RUNS[0])];
  const parts = el("div.pair", {}, ...RUNS.map((run) => el("div.side", { "data-side": run.key }, runTag(run), summaryPart(run))));
  return [parts, el("section", { id: "differences", "aria-labelledby": "differences-title" }, el("h2", { id: "differences-title" }, "What differs"), differencesPart())];
}

function section(id, title, part) {
  const parts = RUNS.length === 1 ? [part(RUNS[0])] : [el("div.pair", {}, ...RUNS.map((run) => el("div.side", { "data-side": run.key }, runTag(run), part(run))))];
  return el("section", { id, "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title), ...parts);
}

/** On a wide screen the first sentence shows at once what a click does. */
function showFirst() {
  const run = RUNS[0];
  const first = run.answer.flatMap((block) => block.sentences).find((sentence) => sentence.cites.length);
  const node = document.querySelector(".sentence");
  if (first && node) showEvidence(run, first, node, "start");
}

function topBar() {
  const input = el("input", { id: "search", type: "search", placeholder: "Search  /", "aria-label": "Search in all messages", spellcheck: "false" });
  let planned = 0;
  input.addEventListener("input", () => {
    clearTimeout(planned); // a keystroke is not yet a question
    planned = setTimeout(() => found(input.value), 120);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    found(input.value);
    const first = [...lists.values()].find(({ view }) => view.shown.length);
    document.getElementById("messages").scrollIntoView();
    first?.list.box.focus({ preventScroll: true });
  });
  const nav = el("nav", { "aria-label": "Sections" }, ...SECTIONS.map(([id, title]) => el("button.quiet", { type: "button", click: () => goTo(id) }, title)));
  document.getElementById("bar").append(
    el("span.brand", {}, "delegator"), nav, el("span.search", {}, input),
    el("button.quiet", { type: "button", "aria-label": "Light or dark", title: "Light or dark (t)", click: turn }, "\u25d0"),
    el("button.quiet", { type: "button", "aria-label": "Keys", title: "Keys (?)", click: () => document.getElementById("help").showModal() }, "?"));
}

function found(words) {
  const n = search(words);
  announce(words.trim() ? `${plural(n, "message")} found` : "");
}

function goTo(id) {
  const place = document.getElementById(id);
  place.scrollIntoView();
  const first = place.querySelector(".virtual") ?? place.querySelector(".sentence, button");
  first?.focus({ preventScroll: true });
}

function turn() {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const order = dark ? [undefined, "light", "dark"] : [undefined, "dark", "light"];
  const next = order[(order.indexOf(root.dataset.theme) + 1) % 3];
  if (next) root.dataset.theme = next;
  else delete root.dataset.theme;
  announce(next ?? "as the system has it");
}

function helpDialog() {
  const dialog = document.getElementById("help");
  const rows = KEYS.map(([key, words]) => el("tr", {}, el("th", { scope: "row" }, ...key.split(" ").flatMap((one) => [el("kbd", {}, one), " "])), el("td", {}, words)));
  dialog.append(el("h2", { id: "help-title" }, "Keys"), el("table", {}, el("tbody", {}, ...rows)),
    el("p.hint", {}, "Everything on this page is in this one file. It asks nothing of any network, and no text in it can run."),
    el("button", { type: "button", click: () => dialog.close() }, "Close"));
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const input = document.getElementById("search");
  if (event.key === "Escape") return escape(input);
  if (event.target.closest("input, select, dialog")) return;
  const section = SECTIONS[Number(event.key) - 1];
  if (event.key === "/") input.focus();
  else if (event.key === "?") document.getElementById("help").showModal();
  else if (event.key === "t") turn();
  else if (section) goTo(section[0]);
  else if ((event.key === "j" || event.key === "k") && !event.target.closest(".virtual")) goTo("messages");
  else return;
  event.preventDefault();
}

function escape(input) {
  if (document.getElementById("help").open) return; // the dialog closes by itself
  if (closeInspector()) return;
  if (input.value) {
    input.value = "";
    found("");
  }
  if (document.activeElement === input) input.blur();
}

addEventListener("keydown", onKey);
addEventListener("beforeprint", () => document.querySelectorAll("details.sources").forEach((node) => { node.open = true; }));
draw();
