// The charts of what the table shows.
const MOST_PANELS = 8;
const SERIES = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#882255"];
const figure = (parent, caption) => {
  const node = add(parent, "figure");
  add(node, "figcaption", caption);
  return add(node, "div");
};
const mainLook = { light: "#0072B2", dark: "#79b8f2", marker: "circle", filled: true };
const greyLook = { light: "#5c6470", dark: "#9aa4b2", marker: "circle", filled: true };
// Several experiments in one chart: what came back by method, a mark an experiment and budget.
const compareChart = (parent, groups) => {
  const tested = new Map();
  groups.forEach((group, k) => group.rows.forEach((r) => {
    if (r.n.restored[0] === null || Math.abs(r.n.restored[0]) > 10) return;
    if (!tested.has(r.m)) tested.set(r.m, []);
    tested.get(r.m).push({ r, k, v: 100 * r.n.restored[0], sd: 0, look: group.look, tip: `${r.m}, ${group.name}: ${percent(r.n.restored[0])} % restored` });
  }));
  const rows = [...tested].filter(([, dots]) => unique(dots.map((d) => d.k)).length > 1).map(([name, dots]) => ({ name, dots, mean: dots.reduce((a, d) => a + d.v, 0) / dots.length })).sort((a, b) => b.mean - a.mean);
  if (!rows.length) return;
  add(parent, "h3", "Experiments compared");
  const box = figure(parent, "Share of the lost accuracy that came back, by method");
  const key = add(box, "ul", undefined, "key");
  for (const group of groups.filter((g, k) => rows.some((row) => row.dots.some((d) => d.k === k)))) {
    const item = add(key, "li");
    mark(svg(item, "svg", { viewBox: "0 0 16 14", width: 16, height: 14, "aria-hidden": "true" }), 8, 7, group.look, group.name);
    item.append(group.name);
  }
  dotPlot(box, rows, "restored", "restored share (%)", true);
};
const drawPanels = () => {
  const parent = $("panels");
  if (!parent) return;
  parent.replaceChildren();
  const rows = shownRows.map(rowOf).filter((r) => r.n.after[0] !== null), many = data.experiments.length > 1;
  const groups = [];
  for (const r of rows) {
    const name = `${many ? `${data.experiments[r.e].label}, ` : ""}budget ${grouped(r.b)}`;
    let group = groups.find((g) => g.name === name);
    if (!group) groups.push((group = { name, e: r.e, b: r.b, rate: r.rate, rows: [] }));
    group.rows.push(r);
  }
  const shapes = Object.keys(SHAPES);
  groups.sort((a, b) => a.e - b.e || a.b - b.b).forEach((group, k) => { const colour = SERIES[k % SERIES.length]; group.look = { light: colour, dark: colour === "#000000" ? "#e6e9ee" : colour, marker: shapes[(k + Math.floor(k / SERIES.length)) % shapes.length], filled: true }; });
  if (unique(groups.map((g) => g.e)).length > 1) compareChart(parent, groups);
  for (const e of unique(groups.map((g) => g.e))) overBudget(parent, groups.filter((g) => g.e === e), many);
  for (const group of groups.slice(0, MOST_PANELS)) {
    add(parent, "h3", `${group.name} (${percent(group.rate)} % of the rows)`);
    const pair = add(parent, "div", undefined, group.rows.length > 2 ? "pair" : "pair few");
    const sorted = [...group.rows].sort((a, b) => b.n.after[0] - a.n.after[0]);
    const dots = sorted.map((r) => ({ name: r.m, strong: r.standing === "best", text: accuracy(r), dots: [{ r, v: 100 * r.n.after[0], sd: 100 * spreadOf(r), look: data.looks[r.m], tip: `${r.m}: ${accuracy(r)}` }] }));
    dotPlot(figure(pair, "Test accuracy after the repair"), dots, "after", "test accuracy (%)", false);
    if (group.rows.length > 2) pareto(figure(pair, "Test accuracy over cost"), sorted);
  }
  if (groups.length > MOST_PANELS) add(parent, "p", `${groups.length - MOST_PANELS} more budgets: choose an experiment, a budget or what was told above the table.`, "note");
};
// Accuracy over budget: lines of the methods that were run at several budgets, and of no others.
const overBudget = (parent, groups, many) => {
  const names = unique(groups.flatMap((g) => g.rows.map((r) => r.m))).filter((m) => groups.filter((g) => g.rows.some((r) => r.m === m)).length > 1);
  if (!names.length) return;
  add(parent, "h3", `${many ? `${data.experiments[groups[0].e].label}: a` : "A"}ccuracy over budget`);
  const level = (key, name) => ({ name, cls: "level", look: greyLook, points: groups.map((g) => [g.b, 100 * g.rows[0].n[key][0]]) });
  const series = names.map((m) => ({
    name: m, look: data.looks[m],
    points: groups.flatMap((g) => g.rows.filter((r) => r.m === m).map((r) => [r.b, 100 * r.n.after[0], 100 * spreadOf(r), `${m}, budget ${grouped(r.b)}: ${accuracy(r)}`])),
  }));
  lineChart(figure(parent, "Test accuracy after the repair; mean over seeds"), [level("clean", "clean model"), level("before", "poisoned model"), ...series], { x: "budget (bad rows)", y: "test accuracy (%)" }, { dots: true, height: Math.max(320, 16 * series.length + 90), xticks: groups.length < 9 ? groups.map((g) => g.b) : null });
};
