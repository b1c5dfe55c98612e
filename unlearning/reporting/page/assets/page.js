const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");
const percent = (v, digits = 1) => (v === null || v === undefined ? "–" : (100 * v).toFixed(digits));
const change = (pair) => (pair && pair[0] !== null && pair[1] !== null ? `${percent(pair[0])} → ${percent(pair[1])} %` : null);
const grouped = (v, digits = 0) => v.toLocaleString("en", { maximumFractionDigits: digits });
const unique = (list) => [...new Set(list)];
const add = (parent, tag, text, cls) => {
  const node = parent.appendChild(document.createElement(tag));
  if (text !== undefined) node.textContent = text;
  if (cls) node.className = cls;
  return node;
};
const fill = (select, options) => {
  const before = select.value;
  select.replaceChildren();
  for (const [v, text] of options) add(select, "option", text).value = v;
  if (options.some(([v]) => String(v) === before)) select.value = before;
};
document.querySelectorAll("[data-script]").forEach((node) => (node.hidden = false));

// Theme: the system's, until the button is pressed. All colours are variables, so that nothing is drawn anew.
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
const showTheme = () => $("theme").setAttribute("aria-pressed", String(isDark()));
try {
  const kept = localStorage.getItem("theme");
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;
} catch { /* private windows */ }
$("theme").hidden = false;
$("theme").addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* private windows */ }
  showTheme();
});
dark.addEventListener("change", showTheme);
showTheme();

// What a reader has chosen stands in the address, so that it can be passed on: `#b=4000&sort=-after`.
const state = {};
const readState = () => {
  if (location.hash && !location.hash.includes("=")) return;  // a section of the page
  for (const key of Object.keys(state)) delete state[key];
  for (const [key, v] of new URLSearchParams(location.hash.slice(1))) state[key] = v;
};
const keep = (key, v) => {
  if (v === "" || v === null) delete state[key]; else state[key] = String(v);
  const text = new URLSearchParams(state).toString();
  history.replaceState(null, "", text ? `#${text}` : location.href.split("#")[0]);
};

// Copying: where the browser forbids it a page on disk has to ask through a text field.
const copy = async (text, said) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = add(document.querySelector("dialog[open]") || document.body, "textarea", text);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  said("copied");
};

// A name or number beside what the mouse points at; the same stands in the title of the mark.
document.addEventListener("pointerover", (event) => {
  const mark = event.target.closest && event.target.closest("[data-tip]");
  if ($("tip").hidden && !mark) return;
  $("tip").hidden = !mark;
  if (!mark) return;
  (mark.closest("dialog") || document.body).append($("tip"));
  $("tip").textContent = mark.dataset.tip;
  const box = mark.getBoundingClientRect(), own = $("tip").getBoundingClientRect();
  $("tip").style.left = `${Math.max(8, Math.min(box.right + 8, innerWidth - own.width - 8))}px`;
  $("tip").style.top = `${Math.max(8, Math.min(box.top - own.height - 6, innerHeight - own.height - 8))}px`;
});
// On paper everything is open, and charts are as wide as it is.
addEventListener("beforeprint", () => {
  document.querySelectorAll("main details:not(.menu):not(.quiet)").forEach((node) => (node.open = true));
  root.dataset.printing = "true";
  drawAgain();
});
addEventListener("afterprint", () => {
  delete root.dataset.printing;
  drawAgain();
});
