// The one place for details: of a sentence, a bar, an agent, a message. Esc closes it and goes back.

const inspector = document.getElementById("inspector");
let opener = null;

/** Show `parts` under `title`. Whoever came by keyboard is taken there. */
function inspect(title, parts, how = "mouse") {
  const heading = el("h2", { id: "inspector-title", tabindex: "-1" }, title);
  const close = el("button.quiet.close", { type: "button", "aria-label": "Close details", click: () => closeInspector() }, "\u00d7");
  inspector.replaceChildren(el("div.inspector-head", {}, heading, close), ...parts.filter(Boolean));
  inspector.dataset.open = how;
  inspector.scrollTop = 0;
  if (how === "key") {
    opener = document.activeElement;
    heading.focus();
  }
}

function closeInspector() {
  if (!inspector.dataset.open) return false;
  delete inspector.dataset.open;
  inspector.replaceChildren(el("p.hint", {}, "Choose a sentence, a bar, an agent or a message to see where it comes from."));
  document.querySelectorAll(".sentence[aria-pressed=true]").forEach((node) => node.setAttribute("aria-pressed", "false"));
  opener?.focus();
  opener = null;
  return true;
}

/** Names and values, one below the other. */
function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl.facts", {}, ...shown.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

/** What a text is worth, in full. */
function labelFacts(label) {
  if (!label) return null;
  const many = label.sources.length;
  const sources = el("details", {}, el("summary", {}, plural(many, "source")), el("ul.plain", {}, ...label.sources.map((id) => el("li.mono", {}, say(id)))));
  return facts([["Trust", chip(label)], ["Who may see it", words(label.confidentiality)], ["Rests on", many ? sources : "no document"]]);
}
