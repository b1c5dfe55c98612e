// The rows as cards: only those in view are in the document, however many there are.
const grid = byId("grid");
const GAP = 14;
const HEADING = 46;
const AHEAD = 700; // pixels above and below the window that are drawn, too
const LEAST = data.texts.length ? 300 : 176; // width of a card
const LEAST_ON_A_PHONE = data.texts.length ? 280 : 158;
let list = []; // numbers of the rows that are shown, in order
let groups = new Map(); // from a place in the list to the heading above it
let tops = [];
let lefts = [];
let size = { width: 0, height: 0 };
let at = 0; // the place in the list that has the focus, or had it last
const nodes = new Map(); // from a place (of headings, half a place before) to what is drawn there

function element(tag, cls, text, more = {}) {
  const node = Object.assign(document.createElement(tag), more);
  if (cls) node.className = cls;
  if (text !== undefined) node.textContent = text;
  return node;
}

const pairOf = (i) => `${data.given[i]},${hasSuggestion(i) ? data.suggested[i] : ""}`;
const pairText = (i) => `${className(data.given[i])} → ${hasSuggestion(i) ? className(data.suggested[i]) : "?"}`;

function makeCard(i, place) {
  const card = element("article", "card");
  card.dataset.row = data.rows[i];
  card.setAttribute("aria-posinset", place + 1);
  card.setAttribute("aria-setsize", list.length);
  const seen = element("div", "seen");
  if (i < pictures.data.length) {
    const picture = element("img", "", undefined, { alt: `picture of row ${data.rows[i]}`, decoding: "async" });
    picture.addEventListener("load", () => picture.classList.toggle("small", picture.naturalWidth <= 96));
    picture.src = `data:${pictures.kind};base64,${pictures.data[i]}`;
    seen.append(picture);
  } else if (!data.texts.length) seen.append("no picture");
  card.append(seen);
  if (data.texts.length) {
    const text = element("div", "text", shown(data.texts[i]), { title: shown(data.texts[i]) });
    i < pictures.data.length ? card.append(text) : seen.replaceChildren(text);
  }
  card.append(element("p", "given", className(data.given[i]), { title: `given: ${className(data.given[i])}` }));
  const unknown = data.mode === "audit" ? "\u00a0" : "→ ?";
  card.append(element("p", "suggested", hasSuggestion(i) ? `→ ${className(data.suggested[i])}` : unknown));
  const score = data.mode === "audit" ? "" : `, score ${data.scores[i]}`;
  card.append(element("p", "facts", `row ${data.rows[i]}${score}`));
  if (data.files.length) card.append(element("p", "facts", shown(data.files[i]), { title: shown(data.files[i]) }));
  card.append(element("p", "verdict"));
  const choices = element("div", "choices");
  for (const [kind, text] of [["accept", "Accept"], ["keep", "Keep"], ["other", "Other…"], ["remove", "Remove"]]) {
    const button = element("button", "", text, { type: "button" });
    button.dataset.kind = kind;
    button.setAttribute("aria-keyshortcuts", kind[0]);
    choices.append(button);
  }
  card.append(choices);
  return card;
}

const VERDICTS = {
  "": () => "\u00a0",
  accept: (i) => `becomes ${className(decided.get(i))}`,
  other: (i) => `becomes ${className(decided.get(i))}`,
  keep: (i) => `stays ${className(data.given[i])}`,
  remove: () => "is removed",
};

function showDecision(card, place) {
  const i = list[place];
  const kind = kindOf(i);
  kind ? (card.dataset.decision = kind) : delete card.dataset.decision;
  card.querySelector(".verdict").textContent = VERDICTS[kind](i);
  const suggestion = hasSuggestion(i) ? `suggested ${className(data.suggested[i])}` : "no suggestion";
  const verdict = kind ? VERDICTS[kind](i) : "no decision";
  card.setAttribute("aria-label", `Row ${data.rows[i]}, given ${className(data.given[i])}, ${suggestion}, ${verdict}`);
  card.tabIndex = place === at ? 0 : -1;
  card.classList.toggle("current", place === at);
  for (const button of card.querySelectorAll("button")) {
    button.tabIndex = card.tabIndex;
    button.setAttribute("aria-pressed", button.dataset.kind === kind);
    button.disabled = button.dataset.kind === "accept" && !hasSuggestion(i);
  }
}

// Where every card stands: all are of one size, so that none has to be drawn to know it.
function layOut() {
  const width = grid.clientWidth;
  const least = width < 420 ? LEAST_ON_A_PHONE : LEAST;
  const columns = Math.max(1, Math.floor((width + GAP) / (least + GAP)));
  size.width = (width - GAP * (columns - 1)) / columns;
  if (list.length) {
    const first = makeCard(list[0], 0);
    first.style.cssText = `width:${size.width}px;visibility:hidden`;
    showDecision(first, 0);
    grid.append(first);
    size.height = first.offsetHeight;
    first.remove();
  }
  tops = [];
  lefts = [];
  let top = 0;
  let column = 0;
  for (let place = 0; place < list.length; place++) {
    if (groups.has(place)) {
      top += place ? size.height + GAP + HEADING : HEADING;
      column = 0;
    } else if (column === columns) {
      top += size.height + GAP;
      column = 0;
    }
    tops.push(top);
    lefts.push(column++ * (size.width + GAP));
  }
  grid.style.height = `${list.length ? top + size.height : 0}px`;
  nodes.clear();
  grid.replaceChildren();
  draw();
}

function draw() {
  const offset = grid.getBoundingClientRect().top;
  const above = -offset - AHEAD - size.height;
  const below = -offset + window.innerHeight + AHEAD;
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    tops[middle] < above ? (low = middle + 1) : (high = middle);
  }
  const wanted = new Set(at < list.length && (at < low || tops[at] >= below) ? [at] : []);
  for (let place = low; place < list.length && tops[place] < below; place++) wanted.add(place);
  const places = [...wanted].sort((a, b) => a - b).flatMap((p) => (groups.has(p) ? [p - 0.5, p] : [p]));
  const stay = new Set(places);
  for (const [place, node] of nodes) {
    if (stay.has(place)) continue;
    node.remove();
    nodes.delete(place);
  }
  let before = null;
  for (const place of places) {
    let node = nodes.get(place);
    if (!node) {
      node = Number.isInteger(place) ? placedCard(place) : placedHeading(place + 0.5);
      nodes.set(place, node);
      grid.insertBefore(node, before ? before.nextSibling : grid.firstChild);
    }
    before = node;
  }
}

function placedCard(place) {
  const card = makeCard(list[place], place);
  showDecision(card, place);
  card.style.cssText = `top:${tops[place]}px;left:${lefts[place]}px;width:${size.width}px;height:${size.height}px`;
  return card;
}

function placedHeading(place) {
  const heading = element("h2", "group", groups.get(place));
  heading.style.cssText = `top:${tops[place] - HEADING}px;height:${HEADING}px`;
  return heading;
}

// Makes a place the one that keys act on, and brings it into view.
function go(place, focus = true) {
  if (!list.length) return;
  const old = at;
  at = Math.min(Math.max(place, 0), list.length - 1);
  const bar = document.querySelector(".bar").offsetHeight + 12;
  const top = grid.getBoundingClientRect().top + tops[at];
  if (focus && top < bar) window.scrollBy(0, top - bar);
  else if (focus && top + size.height > window.innerHeight - 12) {
    window.scrollBy(0, Math.min(top - bar, top + size.height - window.innerHeight + 12));
  }
  draw();
  for (const one of [old, at]) if (nodes.has(one)) showDecision(nodes.get(one), one);
  if (focus) nodes.get(at).focus({ preventScroll: true });
}

// The place in the line above or below, at the same side of the page.
function lineFrom(place, step) {
  let edge = place;
  while (edge in tops && tops[edge] === tops[place]) edge += step;
  if (!(edge in tops)) return place;
  let found = edge;
  while (found + step in tops && tops[found + step] === tops[edge]) found += step;
  const [first, last] = step > 0 ? [edge, found] : [found, edge];
  for (let one = first; one <= last; one++) if (lefts[one] >= lefts[place]) return one;
  return last;
}
