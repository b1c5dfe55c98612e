// Filters, buttons and keys.
const numbers = new Intl.NumberFormat("en");
const pairs = new Map(); // from a pair to the numbers of its rows, worst first
for (let i = 0; i < count; i++) {
  const own = pairs.get(pairOf(i));
  own ? own.push(i) : pairs.set(pairOf(i), [i]);
}
const sorted = [...pairs].sort((a, b) => b[1].length - a[1].length);
const value = (id) => byId(id)?.value ?? "";

function choose() {
  const show = value("show");
  const wanted = (i) => show === "all" || !show || decided.has(i) === (show === "done");
  const pair = value("pair");
  groups = new Map();
  if (value("order") === "pair") {
    list = [];
    for (const [key, rows] of sorted) {
      const found = pair && pair !== key ? [] : rows.filter(wanted);
      if (found.length) groups.set(list.length, `${pairText(found[0])} (${numbers.format(found.length)})`);
      list.push(...found);
    }
  } else {
    list = (pair ? pairs.get(pair) : data.rows.map((_, i) => i)).filter(wanted);
  }
  at = 0;
  const rows = list.length === 1 ? "row" : "rows";
  byId("shown").textContent = list.length === count ? "" : `${numbers.format(list.length)} ${rows} of ${numbers.format(count)}.`;
  layOut();
  refresh();
}

// Those of the chosen pair that a single click can accept.
function open() {
  const pair = value("pair");
  return pair ? pairs.get(pair).filter((i) => !decided.has(i) && hasSuggestion(i)) : [];
}

function refresh() {
  byId("progress").textContent = `${numbers.format(decided.size)} of ${numbers.format(count)} decided`;
  let seen = 0;
  let wrong = 0;
  for (const i of decided.keys()) {
    if (!data.suspect[i]) continue;
    seen++;
    wrong += kindOf(i) !== "keep";
  }
  const share = `${Math.round((100 * wrong) / Math.max(seen, 1))} %`;
  byId("precision").textContent =
    data.mode === "audit" || !seen ? "" : `precision so far ${share} (${numbers.format(wrong)} of ${numbers.format(seen)})`;
  byId("undo").disabled = !log.length;
  byId("next").disabled = decided.size === count;
  byId("download").disabled = !decided.size && !byId("unseen")?.checked;
  byId("lost").hidden = kept;
  if (byId("all")) {
    const left = open();
    byId("all").hidden = !left.length;
    byId("all").textContent = left.length ? `Accept all ${numbers.format(left.length)} open ${pairText(left[0])}` : "";
  }
  for (const [place, node] of nodes) if (Number.isInteger(place)) showDecision(node, place);
}

function say(text) {
  byId("said").textContent = text;
}

function take(place, kind, onward) {
  const i = list[place];
  if (i === undefined) return;
  if (kind === "other") return ask(place, onward);
  if (kind === "accept" && !hasSuggestion(i)) return say("There is no suggestion for this row.");
  set(place, { accept: data.suggested[i], keep: data.given[i], remove: REMOVED }[kind], onward);
}

function set(place, label, onward) {
  const i = list[place];
  decide([[i, label]]);
  refresh();
  say(`Row ${data.rows[i]} ${VERDICTS[kindOf(i)](i)}. ${byId("progress").textContent}.`);
  if (onward) go(place + 1);
}

let asked = null; // the place that the dialog asks about, and whether to move on from it

function ask(place, onward) {
  asked = { place, onward };
  go(place, false);
  byId("other-title").textContent = `Which label is right for row ${data.rows[list[place]]}?`;
  byId("label").value = String(decided.get(list[place]) ?? data.suggested[list[place]]);
  if (byId("label").value === "") byId("label").selectedIndex = 0;
  byId("other").showModal();
}

// At once, not when the browser tells that the dialog is closed: the next key may be there before.
function answer(isSet) {
  byId("other").close();
  if (isSet) set(asked.place, Number(byId("label").value), asked.onward);
  if (!isSet || !asked.onward) go(asked.place);
}

function takeBack() {
  const changes = undo();
  if (!changes) return;
  refresh();
  const place = list.indexOf(changes[0][0]);
  say(changes.length > 1 ? `${changes.length} decisions undone.` : `Row ${data.rows[changes[0][0]]}: undone.`);
  if (place >= 0) go(place);
}

function nextOpen() {
  const after = list.findIndex((i, place) => place > at && !decided.has(i));
  const place = after >= 0 ? after : list.findIndex((i) => !decided.has(i));
  place >= 0 ? go(place) : say("Every row shown has a decision.");
}

const MOVES = {
  ArrowLeft: () => at - 1,
  ArrowRight: () => at + 1,
  ArrowUp: () => lineFrom(at, -1),
  ArrowDown: () => lineFrom(at, 1),
  Home: () => 0,
  End: () => list.length - 1,
  PageUp: () => page(-1),
  PageDown: () => page(1),
};
function page(step) {
  let place = at;
  for (let line = 0; line < Math.max(1, Math.floor((0.8 * window.innerHeight) / size.height)); line++) {
    place = lineFrom(place, step);
  }
  return place;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("other").open) return;
  if (event.target.closest("select,input,textarea,summary")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const kind = { a: "accept", k: "keep", o: "other", r: "remove" }[key];
  if (kind && !event.repeat) take(at, kind, true);
  else if (key === "u") takeBack();
  else if (key === "n") nextOpen();
  else if (key in MOVES && (grid.contains(event.target) || event.target === document.body)) go(MOVES[key]());
  else return;
  event.preventDefault();
});
grid.addEventListener("click", (event) => {
  const card = event.target.closest(".card");
  const button = event.target.closest("button");
  if (!card) return;
  const place = list.indexOf(numberOf.get(Number(card.dataset.row)));
  go(place, false);
  // A click of the mouse leaves the page where it is; a button pressed by key moves on.
  button ? take(place, button.dataset.kind, event.detail === 0) : card.focus({ preventScroll: true });
});
grid.addEventListener("focusin", (event) => {
  const card = event.target.closest(".card");
  const place = card ? list.indexOf(numberOf.get(Number(card.dataset.row))) : -1;
  if (place >= 0 && place !== at) go(place, false);
});
grid.addEventListener("focus", () => go(at));
byId("undo").addEventListener("click", takeBack);
byId("next").addEventListener("click", nextOpen);
byId("download").addEventListener("click", () => {
  download();
  say(`${data.file} is downloaded.`);
});
byId("unseen")?.addEventListener("change", refresh);
byId("all")?.addEventListener("click", () => {
  const left = open();
  decide(left.map((i) => [i, data.suggested[i]]));
  refresh();
  say(`${left.length} suggestions accepted.`);
  go(at);
});
for (const id of ["pair", "order", "show"]) byId(id)?.addEventListener("change", choose);
byId("resume").addEventListener("change", async (event) => {
  const file = event.target.files[0];
  if (!file) return;
  const changes = fromCsv(await file.text());
  if (changes?.length) decide(changes);
  choose();
  byId("shown").textContent = changes
    ? `${numbers.format(changes.length)} decisions taken up from ${shown(file.name)}.`
    : `${shown(file.name)} is no file of decisions about these rows.`;
  event.target.value = "";
});
byId("label").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  answer(true);
});
byId("other").addEventListener("submit", (event) => {
  event.preventDefault();
  answer(event.submitter?.value !== "cancel");
});
let waiting = false;
addEventListener("scroll", () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    draw();
  });
});
new ResizeObserver(() => {
  if (grid.clientWidth !== layOut.width) {
    layOut.width = grid.clientWidth;
    layOut();
  }
}).observe(grid);
addEventListener("beforeunload", (event) => {
  if (!kept && !saved) event.preventDefault();
});

restore();
if (byId("pair")) {
  byId("pair").append(new Option("all", ""));
  for (const [key, rows] of sorted) {
    byId("pair").append(new Option(`${pairText(rows[0])} (${numbers.format(rows.length)})`, key));
  }
}
for (let label = 0; label < data.classes.length; label++) byId("label").append(new Option(className(label), String(label)));
layOut.width = grid.clientWidth;
choose();
document.documentElement.dataset.ready = "true";
