const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");
const percent = (v, digits = 1) => (v === null || v === undefined ? "–" : (100 * v).toFixed(digits));
const change = (pair) => (pair && pair[0] !== null ? `${percent(pair[0])} → ${percent(pair[1])} %` : "–");
const seconds = (v) => v.toLocaleString("en", { maximumFractionDigits: v < 1000 ? 1 : 0 });
// Plotly reads a little HTML in its texts; what comes from files must stay text there, too.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const add = (parent, tag, text, cls) => {
  const node = parent.appendChild(document.createElement(tag));
  if (text !== undefined) node.textContent = text;
  if (cls) node.className = cls;
  return node;
};
document.querySelectorAll("[data-script]").forEach((node) => (node.hidden = false));

// Theme: the system's, until the button is pressed.
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
const button = $("theme");
const showTheme = () => {
  button.setAttribute("aria-pressed", String(isDark()));
  drawLegend();
  redraw();
};
const remember = (value) => { try { localStorage.setItem("theme", value); } catch { /* private windows */ } };
try {
  const kept = localStorage.getItem("theme");
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;
} catch { /* private windows */ }
button.hidden = false;
button.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  remember(root.dataset.theme);
  showTheme();
});
dark.addEventListener("change", () => showTheme());

// The table: sorting by its headers, filtering by text, experiment and budget.
const table = $("headline");
const rows = table ? [...table.tBodies[0].rows] : [];
const value = (row, column) => row.cells[column].dataset.v;
const compare = (a, b) => {
  const x = Number(a), y = Number(b);
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
};
const sortBy = (header) => {
  const ascending = header.getAttribute("aria-sort") !== "ascending";
  const column = header.cellIndex;
  for (const other of header.parentNode.cells) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  rows.sort((r, s) => {
    const a = value(r, column), b = value(s, column);
    if (a === "" || b === "") return (a === "") - (b === "");
    return ascending ? compare(a, b) : compare(b, a);
  });
  table.tBodies[0].append(...rows);
};
if (table) table.querySelectorAll("th button.sort").forEach((b) => b.addEventListener("click", () => sortBy(b.closest("th"))));
const filter = () => {
  const text = $("filter").value.trim().toLowerCase();
  const experiment = $("filter-experiment") ? $("filter-experiment").value : "";
  const budget = $("filter-budget").value;
  let count = 0;
  for (const row of rows) {
    row.hidden = !(row.dataset.t.includes(text) && (!experiment || row.dataset.e === experiment) && (!budget || row.dataset.b === budget));
    count += !row.hidden;
  }
  $("shown").textContent = count === rows.length ? `${count} rows` : `${count} of ${rows.length} rows`;
};
if (table) {
  for (const id of ["filter", "filter-experiment", "filter-budget"]) if ($(id)) $(id).addEventListener("input", filter);
  filter();
}
