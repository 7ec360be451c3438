// Elements and texts. Nothing here, or anywhere on the page, makes markup of a string.

const SVG = "http://www.w3.org/2000/svg";
const ATTRIBUTE = /^(?:aria-[a-z]+|data-[a-z]+|class|colspan|dir|for|height|hidden|id|maxlength|open|placeholder|role|scope|selected|spellcheck|tabindex|title|type|value|viewBox|width|d|x|x1|x2|y|y1|y2|preserveAspectRatio|text-anchor)$/;

// What a reader does not see and a machine may obey, and what turns text around: each is shown by its number.
const HIDDEN = new RegExp(
  "[\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f" +
  "\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ufe00-\\ufe0d\\ufeff\\uffa0\\ufff0-\\ufffb\\ufffe\\uffff" +
  "\\ud800-\\udfff\\ue000-\\uf8ff\\u{1bca0}-\\u{1bca3}\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e0fff}\\u{f0000}-\\u{10ffff}]" +
  "|(?<![\\p{Extended_Pictographic}\\p{Emoji_Modifier}\\p{M}\\p{Script=Arabic}\\p{Script=Malayalam}\\p{Script=Sinhala}])[\\u200c\\u200d]" +
  "|(?<![#*0-9\\p{Extended_Pictographic}])[\\ufe0e\\ufe0f]",
  "gu",
);

/** An element by `name.class.class`, its attributes, and children: nodes, or texts of ours. */
function el(spec, attributes = {}, ...children) {
  const [name, ...classes] = spec.split(".");
  return filled(document.createElement(name), classes, attributes, children);
}

/** The same for a drawing. */
function svg(spec, attributes = {}, ...children) {
  const [name, ...classes] = spec.split(".");
  return filled(document.createElementNS(SVG, name), classes, attributes, children);
}

function filled(node, classes, attributes, children) {
  if (classes.length) node.setAttribute("class", classes.join(" "));
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (!ATTRIBUTE.test(name)) throw new Error(`no such attribute here: ${name}`);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** A text that somebody else wrote: turned around by nothing, hiding nothing, with what is searched for marked. */
function say(text, needle = "") {
  return el("bdi.said", { dir: "auto" }, ...marked(text, needle));
}

function marked(text, needle) {
  if (!needle) return visible(text);
  const nodes = [];
  const lower = text.toLowerCase();
  // some letters change their length in lower case: then places would be off, and nothing is marked
  if (lower.length !== text.length) return visible(text);
  let done = 0;
  for (let at = lower.indexOf(needle); at >= 0; at = lower.indexOf(needle, done)) {
    nodes.push(...visible(text.slice(done, at)), el("mark", {}, ...visible(text.slice(at, at + needle.length))));
    done = at + needle.length;
  }
  nodes.push(...visible(text.slice(done)));
  return nodes;
}

function visible(text) {
  const nodes = [];
  let done = 0;
  for (const found of text.matchAll(HIDDEN)) {
    if (found.index > done) nodes.push(text.slice(done, found.index));
    nodes.push(control(found[0]));
    done = found.index + found[0].length;
  }
  if (done < text.length || !nodes.length) nodes.push(text.slice(done));
  return nodes;
}

function control(character) {
  const number = character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
  return el("span.control", { title: "a character that does not show" }, `U+${number}`);
}

/** The same text in one line, cut short: for rows and tooltips. */
function oneLine(text, most = 160) {
  const folded = text.slice(0, 4 * most).replace(/\s+/g, " ").trim();
  return folded.length > most ? `${folded.slice(0, most - 1)}\u2026` : folded;
}

/** A tooltip can not isolate or mark anything: what is hidden is spelled out. */
function plain(text) {
  return oneLine(text).replace(HIDDEN, (c) => `<U+${c.codePointAt(0).toString(16).toUpperCase()}>`);
}
