// One repair at a time: each choice narrows those after it, and keeps what it can.
const fill = (select, options) => {
  const before = select.value;
  select.replaceChildren();
  for (const [v, text] of options) { const o = add(select, "option", text); o.value = v; }
  if (options.some(([v]) => String(v) === before)) select.value = before;
  return select.value;
};
const unique = (list) => [...new Set(list)];
let repair = null;
const classes = (r) => {
  const names = data.experiments[r.e].classes;
  return Array.from({ length: r.classes }, (_, k) => (names && k < names.length ? names[k] : String(k)));
};
const RELATED = ["chart-recall", "chart-before", "chart-after", "chart-solver"];
const pick = () => {
  let found = data.repairs;
  if ($("pick-e")) {
    fill($("pick-e"), unique(found.map((r) => r.e)).map((e) => [e, data.experiments[e].label]));
    found = found.filter((r) => String(r.e) === $("pick-e").value);
  }
  for (const key of ["b", "s", "m"]) {
    const options = unique(found.map((r) => r[key])).sort((a, b) => (key === "m" ? compare(a, b) : a - b));
    const chosenValue = fill($(`pick-${key}`), options.map((v) => [v, key === "b" ? v.toLocaleString("en") : v]));
    found = found.filter((r) => String(r[key]) === chosenValue);
  }
  repair = found[0];
  showRepair();
};
const showRepair = () => {
  const r = repair;
  const facts = [
    ["test accuracy", `${change([r.before, r.after])}`], ["clean model", `${percent(r.clean)} %`],
    ["restored share", r.restored === null ? "nothing was lost" : `${percent(r.restored)} %`], ["seconds", seconds(r.seconds)],
    ["validation accuracy", change(r.validation)], ["wrong labels still said", change(r.wrong)],
    ["membership AUC", r.membership[0] === null || r.membership[1] === null ? "–" : r.membership.map((v) => v.toFixed(2)).join(" → ")], ["status", r.status.replaceAll("_", " ") + (r.applied ? "" : " (not applied)")],
  ];
  $("facts").replaceChildren();
  for (const [name, text] of facts) { const box = add($("facts"), "div"); add(box, "dt", name); add(box, "dd", text); }
  const known = Boolean(r.recall[0] && r.recall[1]);
  $("recall-box").hidden = !known;
  $("recall-note").hidden = known;
  const list = $("recall-table");
  list.replaceChildren();
  if (known) {
    const head = add(add(list, "thead"), "tr"), body = add(list, "tbody");
    for (const [text, cls] of [["class", "text"], ["clean %", ""], ["before %", ""], ["after %", ""]]) { const th = add(head, "th", text, cls); th.scope = "col"; }
    const clean = data.experiments[r.e].clean[r.s];
    classes(r).forEach((name, k) => {
      const row = add(body, "tr");
      add(row, "th", name, "text").scope = "row";
      for (const v of [clean && clean[k], r.recall[0][k], r.recall[1][k]]) add(row, "td", percent(v));
    });
    $("chart-recall").style.height = `${Math.min(Math.max(240, 90 + 26 * r.classes), 2600)}px`;
  }
  const counts = Boolean(r.confusion[0] && r.confusion[1]);
  for (const when of ["before", "after"]) {
    const image = r.figures[when];
    const drawn = !counts && image !== undefined && image !== null;
    $(`chart-${when}`).hidden = !counts;
    $(`figure-${when}`).hidden = !drawn;
    if (drawn) $(`figure-${when}`).src = data.images[image];
  }
  const shown = counts || ["before", "after"].some((when) => !$(`figure-${when}`).hidden);
  $("confusions").hidden = !shown;
  $("confusion-note").textContent = shown ? "Rows: true class; columns: predicted class; shares of each true class on the test rows." : "No confusion matrices were recorded for this repair.";
  const solved = r.curves.length > 0;
  $("chart-solver").hidden = !solved;
  $("solver-note").textContent = solved ? "A line a step, later steps stronger." + (r.curves.some((c) => c.d) ? " Several dampings are solved for at once: solid lines are the least damped system, dotted ones the most damped." : "") : "This repair solves nothing, or keeps no log of it.";
  for (const id of RELATED) if (seen.has(id)) draw(id); else if (!$(id).hidden) observer.observe($(id));
};
register("chart-recall", () => {
  const r = repair;
  if (!r || !r.recall[0] || !r.recall[1]) return null;
  const names = classes(r), y = names.map((_, k) => k), clean = data.experiments[r.e].clean[r.s];
  const points = (values, name, marker) => ({
    x: values.map((v) => (v === null ? null : 100 * v)), y, mode: "markers", type: "scatter", name, marker,
    text: names.map(plain), hovertemplate: `<b>%{text}</b><br>${name} %{x:.1f} %<extra></extra>`,
  });
  const lines = { x: [], y: [], mode: "lines", hoverinfo: "skip", showlegend: false, line: { color: token("--muted"), width: 2 } };
  y.forEach((k) => { lines.x.push(r.recall[0][k] * 100, r.recall[1][k] * 100, null); lines.y.push(k, k, null); });
  const traces = [lines, points(r.recall[0], "before", { color: token("--surface"), size: 10, line: { color: token("--muted"), width: 2 } })];
  if (clean && clean.length >= names.length) traces.push(points(clean.slice(0, names.length), "clean model", { color: token("--ink"), size: 12, symbol: "line-ns-open", line: { width: 2 } }));
  traces.push(points(r.recall[1], "after", { color: colour(r.m), size: 11, symbol: data.looks[r.m].marker, line: { color: edge(), width: 1 } }));
  return { traces, layout: { showlegend: true, legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, margin: { l: 56, r: 18, t: 44, b: 48 },
    xaxis: { title: "recall on the test rows (%)" }, yaxis: { tickvals: y, ticktext: names.map((n) => plain(n.length > 24 ? n.slice(0, 23) + "…" : n)), autorange: "reversed", showgrid: false, zeroline: false } } };
});
const heat = (number) => () => {
  const r = repair;
  if (!r || !r.confusion[number]) return null;
  const counts = r.confusion[number], names = classes(r), short = names.map((n) => plain(n.length > 14 ? n.slice(0, 13) + "…" : n));
  const z = counts.map((row) => { const sum = row.reduce((a, b) => a + b, 0) || 1; return row.map((n) => (100 * n) / sum); });
  const axis = { tickvals: names.map((_, k) => k), ticktext: short, showgrid: false, zeroline: false };
  const labelled = names.length <= 12 && $("chart-before").clientWidth > 380;
  const wide = names.length > 30 ? { showticklabels: false } : {};
  return {
    traces: [{
      type: "heatmap", z, zmin: 0, zmax: 100, xgap: 1, ygap: 1, showscale: false,
      colorscale: isDark() ? [[0, "#1c2128"], [1, "#79b8f2"]] : [[0, "#f4f6f8"], [1, "#0a5ea8"]],
      customdata: counts.map((row, i) => row.map((n, j) => [plain(names[i]), plain(names[j]), n])),
      texttemplate: labelled ? "%{z:.0f}" : "", textfont: { size: 11 },
      hovertemplate: "true <b>%{customdata[0]}</b><br>predicted <b>%{customdata[1]}</b><br>%{z:.1f} % (%{customdata[2]:,} rows)<extra></extra>",
    }],
    layout: { margin: { l: 60, r: 12, t: 12, b: 56 }, xaxis: { ...axis, ...wide, title: "predicted" }, yaxis: { ...axis, ...wide, autorange: "reversed", title: "true" } },
  };
};
register("chart-before", heat(0));
register("chart-after", heat(1));
register("chart-solver", () => {
  const r = repair;
  if (!r || !r.curves.length) return null;
  const steps = unique(r.curves.map((c) => c.k));
  const traces = r.curves.map((c) => {
    const name = plain(c.k) + (c.d ? ", most damped" : "");
    const opacity = steps.length > 1 ? 0.35 + (0.65 * (steps.indexOf(c.k) + 1)) / steps.length : 1;
    return {
      x: c.x, y: c.y, mode: "lines", name, opacity, line: { color: colour(r.m), width: c.d ? 1.5 : 2, dash: c.d ? "dot" : "solid" },
      hovertemplate: `${name}<br>iteration %{x}<br>%{y:.3g}<extra></extra>`,
    };
  });
  return { traces, layout: { xaxis: { title: "iteration" }, yaxis: { title: r.measure.replaceAll("_", " "), type: "log", ...logTicks(r.curves.flatMap((c) => c.y)) } } };
});
if (data.repairs.length) {
  for (const key of ["e", "b", "s", "m"]) if ($(`pick-${key}`)) $(`pick-${key}`).addEventListener("input", pick);
  // What the table calls best comes first, where there is a choice.
  const [first] = data.rows.filter((r) => !r.control && r.e === data.repairs[0].e).sort((a, b) => a.b - b.b || b.after[0] - a.after[0]);
  if (first) { add($("pick-m"), "option", first.m); $("pick-m").value = first.m; }
  pick();
}
