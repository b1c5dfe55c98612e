// The table: one choice of experiment, budget, rows and validation for it and for the charts.
const table = $("headline");
const trs = table ? [...table.tBodies[0].rows] : [];
const rowOf = (tr) => data.rows[Number(tr.dataset.i)];
const heads = table ? [...table.tHead.rows[0].cells] : [];
const columnOf = (cell) => /c-(\w+)/.exec(cell.className)[1];
const titleOf = (head) => head.textContent.trim().replace(/\s+/g, " ");
const KEYS = { experiment: (r) => data.experiments[r.e].label, told: (r) => r.t + (r.k < 1 ? ` (${100 * r.k} %)` : ""), validation: (r) => r.v, budget: (r) => grouped(r.b), seeds: (r) => String(r.seeds) };
const USUAL = heads.filter((h) => !h.classList.contains("more")).map(columnOf);
const PICKS = { e: ["e", (v) => data.experiments[v].label], b: ["b", grouped], t: ["t", String], v: ["v", (v) => `${v} labels`] };
const compare = (a, b) => {
  const x = Number(a), y = Number(b);
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
};
const sheet = document.head.appendChild(document.createElement("style"));
let shownRows = [];  // of the table, in its order

const chosenColumns = () => (state.cols === undefined ? USUAL : ["method", ...state.cols.split(",")]);
const showColumns = () => {
  const rows = shownRows.map(rowOf), chosen = chosenColumns(), hidden = [], same = [];
  const number = (name) => { const texts = unique(rows.map((r) => show(name, r.n[name]))); return texts.length === 1 && texts[0] !== "–" ? texts[0] : null; };
  for (const head of heads) {
    const name = columnOf(head);
    const constant = KEYS[name] && rows.length > 1 && unique(rows.map(KEYS[name])).length === 1;
    if (constant) same.push(`${titleOf(head)} ${KEYS[name](rows[0])}`);
    if (constant || !chosen.includes(name)) hidden.push(name);
  }
  if (rows.length > 1) for (const [name, text] of [["before", "poisoned model"], ["clean", "clean model"]]) {
    const found = number(name);
    if (found !== null) { same.push(`${text} ${found} %`); if (!hidden.includes(name)) hidden.push(name); }
  }
  sheet.textContent = `.more{display:revert!important}${hidden.map((name) => `#headline .c-${name}`).join(",") || "#none"}{display:none!important}`;
  $("same").textContent = same.length ? `The same in all rows: ${same.join("; ")}.` : "";
  return hidden;
};
const show = (name, pair) => {
  if (!pair || pair[0] === null) return "–";
  const c = data.columns[name], parts = pair.filter((v) => v !== null).map((v) => (c.scale * v).toFixed(c.digits));
  return (c.sign && c.scale * pair[0] >= 0 ? c.sign : "") + parts.join(" ± ");
};
const sortRows = () => {
  const name = (state.sort || "").replace("-", ""), down = (state.sort || "").startsWith("-");
  const column = heads.findIndex((head) => columnOf(head) === name);
  heads.forEach((head, k) => head.setAttribute("aria-sort", k !== column ? "none" : down ? "descending" : "ascending"));
  trs.sort((r, s) => {
    if (column < 0) return Number(r.dataset.i) - Number(s.dataset.i);
    const a = r.cells[column].dataset.v, b = s.cells[column].dataset.v;
    if (a === "" || b === "") return (a === "") - (b === "");
    return down ? compare(b, a) : compare(a, b);
  });
  table.tBodies[0].append(...trs);
  if (document.activeElement !== $("sort-by")) $("sort-by").value = state.sort || "";
};
const matches = (r) => Object.entries(PICKS).every(([key, [field]]) => state[key] === undefined || String(r[field]) === state[key]);
const showRows = () => {
  const text = (state.q || "").trim().toLowerCase();
  for (const tr of trs) {
    const r = rowOf(tr);
    tr.hidden = !(matches(r) && `${data.experiments[r.e].label} ${r.m}`.toLowerCase().includes(text));
  }
  shownRows = trs.filter((tr) => !tr.hidden);
  $("shown").textContent = shownRows.length === trs.length ? `${trs.length} rows` : `${shownRows.length} of ${trs.length} rows`;
  showColumns();
};
const showAll = () => {
  for (const key of Object.keys(PICKS)) if ($(`pick-${key}`)) $(`pick-${key}`).value = state[key] || "";
  $("filter").value = state.q || "";
  for (const box of $("columns").querySelectorAll("input")) box.checked = chosenColumns().includes(box.value);
  sortRows();
  showRows();
  drawPanels();
};
const textOf = (cell) => (cell.querySelector(".name") ? [...cell.querySelectorAll(".name, .tag")].map((n) => n.textContent).join(", ") : cell.textContent).trim().replace(/\s+/g, " ");
const FORMATS = {
  Markdown: (lines) => { const [head, ...rest] = lines.map((cells) => `| ${cells.map((c) => c.replaceAll("|", "\\|")).join(" | ")} |`); return [head, `|${lines[0].map((_, k) => (k ? " ---: |" : " --- |")).join("")}`, ...rest].join("\n"); },
  LaTeX: (lines) => {
    const safe = (c) => c.replace(/\\/g, "\\textbackslash ").replace(/[&%$#_{}]/g, "\\$&").replaceAll("±", "$\\pm$").replaceAll("–", "--");
    const [head, ...rest] = lines.map((cells) => `${cells.map(safe).join(" & ")} \\\\`);
    return [`\\begin{tabular}{l${"r".repeat(lines[0].length - 1)}}`, "\\hline", head, "\\hline", ...rest, "\\hline", "\\end{tabular}"].join("\n");
  },
  CSV: (lines) => lines.map((cells) => cells.map((c) => (/[",\n]/.test(c) ? `"${c.replaceAll('"', '""')}"` : c)).join(",")).join("\n"),
};
const lines = () => {
  const hidden = showColumns(), kept = heads.map((h, k) => k).filter((k) => !hidden.includes(columnOf(heads[k])));
  return [kept.map((k) => titleOf(heads[k])), ...trs.filter((tr) => !tr.hidden).map((tr) => kept.map((k) => textOf(tr.cells[k])))];
};
const startTable = () => {
  for (const [key, [field, name]] of Object.entries(PICKS)) {
    if (!$(`pick-${key}`)) continue;
    const values = unique(data.rows.map((r) => r[field])).sort((a, b) => (typeof a === "number" ? a - b : compare(a, b)));
    fill($(`pick-${key}`), [["", "all"], ...values.map((v) => [v, name(v)])]);
    $(`pick-${key}`).closest("label").hidden = values.length < 2;
    $(`pick-${key}`).addEventListener("input", (event) => { keep(key, event.target.value); showAll(); });
  }
  $("filter").addEventListener("input", (event) => { keep("q", event.target.value); showRows(); drawPanels(); });
  for (const head of heads) {
    const name = columnOf(head);
    head.querySelector("button").addEventListener("click", () => {
      const down = !["method", "experiment", "told", "validation", "budget"].includes(name);  // the highest numbers first
      keep("sort", [`${down ? "-" : ""}${name}`, `${down ? "" : "-"}${name}`][Number(state.sort === `${down ? "-" : ""}${name}`)]);
      sortRows();
    });
    if (name === "method") continue;
    const label = add($("columns"), "label"), box = add(label, "input");
    box.type = "checkbox";
    box.value = name;
    label.append(` ${titleOf(head)}`);
    box.addEventListener("input", () => {
      const chosen = [...$("columns").querySelectorAll("input:checked")].map((n) => n.value);
      keep("cols", chosen.join() === USUAL.slice(1).join() ? "" : chosen.join());
      if (!chosen.length) keep("cols", "none");
      showColumns();
    });
  }
  fill($("sort-by"), [["", "budget, best first"], ...heads.flatMap((h) => [[`-${columnOf(h)}`, `${titleOf(h)} ↓`], [columnOf(h), `${titleOf(h)} ↑`]])]);
  $("sort-by").addEventListener("input", (event) => { keep("sort", event.target.value); sortRows(); });
  document.querySelectorAll("[data-copy]").forEach((b) => b.addEventListener("click", () => {
    b.closest("details").open = false;
    copy(FORMATS[b.dataset.copy](lines()), (said) => { $("shown").textContent = `${b.dataset.copy} ${said}`; });
  }));
  for (const tr of trs) {
    const name = tr.cells[0].querySelector(".name"), button = document.createElement("button");
    button.type = "button";
    button.className = "name";
    button.textContent = name.textContent;
    name.replaceWith(button);
  }
  table.tBodies[0].addEventListener("click", (event) => {
    const tr = event.target.closest("tr");
    if (tr && !String(getSelection())) openDrawer(rowOf(tr));
  });
};
// Menus close when something else is used.
document.addEventListener("click", (event) => document.querySelectorAll("details.menu[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; }));
