// What is asked, what was decided, and where the browser keeps it.
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const pictures = JSON.parse(byId("pictures").textContent);
const count = data.rows.length;
const REMOVED = -1;
const PLACE = `unlearning-review:${data.key}`;
const LONGEST_LOG = 500;
const numberOf = new Map(data.rows.map((row, i) => [row, i]));
const decided = new Map(); // from the number on this page to a label
let log = []; // what undo takes back: lists of [number, label before or null]
let kept = true; // whether the browser keeps anything for this page
let saved = true; // whether what was decided is kept or downloaded

// Names come from files: what steers a terminal, or turns the direction of writing, is shown as its code.
const shown = (text) =>
  text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
const className = (label) => shown(data.classes[label]);
const hasSuggestion = (i) => data.suggested[i] !== data.given[i];

function kindOf(i) {
  const label = decided.get(i);
  if (label === undefined) return "";
  if (label === REMOVED) return "remove";
  if (label === data.given[i]) return "keep";
  return label === data.suggested[i] ? "accept" : "other";
}

function isLabel(label) {
  return Number.isInteger(label) && label >= REMOVED && label < data.classes.length;
}

// Takes decisions, as one step of undo; a label of null takes a decision back.
function decide(changes) {
  log.push(changes.map(([i]) => [i, decided.has(i) ? decided.get(i) : null]));
  log = log.slice(-LONGEST_LOG);
  apply(changes);
}

function apply(changes) {
  for (const [i, label] of changes) label === null ? decided.delete(i) : decided.set(i, label);
  saved = false;
  save();
}

function undo() {
  const changes = log.pop();
  if (changes) apply(changes);
  return changes;
}

// A page opened from disk may have no storage at all, or one that forgets or refuses: then it says so, and goes on.
function save() {
  if (!kept) return;
  try {
    localStorage.setItem(PLACE, JSON.stringify({ decided: [...decided], log }));
    saved = true;
  } catch {
    kept = false;
  }
}

function restore() {
  let found = null;
  try {
    found = JSON.parse(localStorage.getItem(PLACE) ?? "null");
    localStorage.setItem(`${PLACE}?`, "1");
    localStorage.removeItem(`${PLACE}?`);
  } catch {
    kept = false;
  }
  const usable = (pair, none) =>
    Array.isArray(pair) && pair[0] in data.rows && (isLabel(pair[1]) || (none && pair[1] === null));
  for (const pair of Array.isArray(found?.decided) ? found.decided : []) if (usable(pair)) decided.set(...pair);
  log = (Array.isArray(found?.log) ? found.log : []).filter(
    (step) => Array.isArray(step) && step.every((pair) => usable(pair, true)),
  );
}
