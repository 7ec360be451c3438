// A list of any length: only the rows in sight exist. The whole list is one stop for the Tab key; arrows move inside.

const MARGIN = 6; // rows beyond the edge, so that slow scrolling shows no gaps

/**
 * `count()` rows of `height()` pixels, each drawn by `draw(i)`.
 * `pick(i, how)` is told what was chosen; `keys(event, i)` may take a key for itself.
 */
function virtualList({ id, name, height: heightNow, count, draw, pick, keys = () => false, tall = 460 }) {
  const rows = el("div.rows");
  const box = el("div.virtual", {
    id, role: "listbox", tabindex: "0", "aria-label": name,
    scroll: () => schedule(), keydown: onKey, click: onClick, focus: () => schedule(), blur: () => schedule(),
  }, rows);
  box.style.maxHeight = `${tall}px`;
  let height = heightNow();
  let current = 0;
  let chosen = -1;
  let planned = 0;
  let drawn = new Map();
  let whole = false; // for paper, every row is there

  function schedule() {
    planned ||= requestAnimationFrame(() => { planned = 0; paint(); });
  }

  function span() {
    if (whole) return [0, count()];
    const first = Math.floor(box.scrollTop / height) - MARGIN;
    const last = Math.ceil((box.scrollTop + (box.clientHeight || tall)) / height) + MARGIN;
    return [Math.max(first, 0), Math.min(last, count())];
  }

  function paint() {
    const [first, last] = span();
    const kept = new Map();
    const fresh = [];
    for (let i = first; i < last; i += 1) {
      const row = drawn.get(i) ?? made(i);
      if (!drawn.has(i)) fresh.push(row);
      kept.set(i, row);
    }
    for (const [i, row] of drawn) if (!kept.has(i)) row.remove();
    rows.append(...fresh);
    drawn = kept;
    mark();
  }

  /** Which row is chosen, and which one the keys are at. */
  function mark() {
    const focused = document.activeElement === box;
    for (const [i, row] of drawn) {
      if ((row.getAttribute("aria-selected") === "true") !== (i === chosen)) row.setAttribute("aria-selected", String(i === chosen));
      row.classList.toggle("current", focused && i === current);
    }
    if (drawn.has(current)) box.setAttribute("aria-activedescendant", `${id}-${current}`);
    else box.removeAttribute("aria-activedescendant");
  }

  function made(i) {
    const row = draw(i);
    row.id = `${id}-${i}`;
    row.setAttribute("role", "option");
    row.setAttribute("aria-posinset", i + 1);
    row.setAttribute("aria-setsize", count());
    row.setAttribute("aria-selected", "false");
    row.dataset.row = i;
    row.style.transform = `translateY(${i * height}px)`;
    row.style.height = `${height}px`;
    return row;
  }

  function refresh() {
    for (const row of drawn.values()) row.remove();
    drawn = new Map();
    height = heightNow();
    rows.style.height = `${count() * height}px`;
    current = Math.min(current, Math.max(count() - 1, 0));
    paint();
  }

  function move(to) {
    current = Math.max(0, Math.min(to, count() - 1));
    const top = current * height;
    if (top < box.scrollTop) box.scrollTop = top;
    const bottom = top + height + rows.offsetTop - box.clientHeight; // below a heading that stays
    if (bottom > box.scrollTop) box.scrollTop = bottom;
    paint();
  }

  function choose(i, how) {
    if (i < 0 || i >= count()) return;
    chosen = i;
    move(i);
    pick(i, how);
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || keys(event, current)) return;
    const page = Math.max(Math.floor(box.clientHeight / height) - 1, 1);
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (step !== undefined) move(current + step);
    else if (event.key === "Enter" || event.key === " ") choose(current, "key");
    else return;
    event.preventDefault();
  }

  function onClick(event) {
    const row = event.target.closest("[data-row]");
    if (row) choose(Number(row.dataset.row), "mouse");
  }

  new ResizeObserver(schedule).observe(box);
  addEventListener("beforeprint", () => { whole = count() <= 400; if (whole) paint(); });
  addEventListener("afterprint", () => { whole = false; paint(); });
  refresh();
  return { box, rows, refresh };
}
