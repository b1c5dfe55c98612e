// Which methods the two charts at the top show.
const off = new Set();
const chosen = () => Number($("chart-experiment") ? $("chart-experiment").value : data.rows.length ? data.rows[0].e : 0);
const svg = (tag, attributes) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, v] of Object.entries(attributes)) node.setAttribute(key, v);
  return node;
};
const DASHES = { solid: "none", dash: "5 3", dot: "1.5 3", dashdot: "5 3 1.5 3" };
const SHAPES = {
  circle: "M6.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0", square: "M7 -3h6v6h-6z", diamond: "M10 -4l4 4l-4 4l-4 -4z",
  "triangle-up": "M10 -4l4 7h-8z", "triangle-down": "M10 4l4 -7h-8z", "triangle-left": "M6 0l7 -4v8z", "triangle-right": "M14 0l-7 -4v8z",
  pentagon: "M10 -4l3.8 2.8-1.4 4.4h-4.8l-1.4-4.4z", hexagon: "M10 -4l3.5 2v4l-3.5 2-3.5-2v-4z", cross: "M9 -4h2v3h3v2h-3v3h-2v-3h-3v-2h3z", x: "M7 -3.6l3 2.4 3-2.4 1 1.2-2.6 2.4 2.6 2.4-1 1.2-3-2.4-3 2.4-1-1.2 2.6-2.4-2.6-2.4z",
  star: "M10 -4.5l1.3 3 3.2.2-2.5 2 .9 3.1-2.9-1.8-2.9 1.8.9-3.1-2.5-2 3.2-.2z",
};
const drawLegend = () => {
  const legend = $("legend");
  if (!legend) return;
  const focused = document.activeElement && document.activeElement.dataset.m;
  legend.replaceChildren();
  for (const name of [...new Set(data.rows.filter((r) => r.e === chosen()).map((r) => r.m))]) {
    const item = add(legend, "button");
    item.type = "button";
    item.dataset.m = name;
    item.setAttribute("aria-pressed", String(!off.has(name)));
    const icon = item.appendChild(svg("svg", { width: 20, height: 12, viewBox: "0 -6 20 12", "aria-hidden": "true" }));
    const look = data.looks[name];
    icon.append(svg("path", { d: "M0 0H20", stroke: colour(name), "stroke-width": 1.6, "stroke-dasharray": DASHES[look.dash], fill: "none" }));
    icon.append(svg("path", { d: SHAPES[look.marker], fill: colour(name), stroke: edge(), "stroke-width": 0.6 }));
    add(item, "span", name);
    item.addEventListener("click", () => {
      if (!off.delete(name)) off.add(name);
      drawLegend();
      redraw(["chart-budget", "chart-seconds"]);
    });
    if (focused === name) item.focus();
  }
};
const level = (rows, key, name, dash) => ({
  x: rows.map((r) => r.b), y: rows.map((r) => 100 * r[key][0]), mode: rows.length > 1 ? "lines" : "markers", name,
  line: { color: token("--muted"), width: 1, dash }, marker: { color: token("--muted"), symbol: "line-ew-open", size: 18 },
  hovertemplate: `${name}: %{y:.1f} %<extra></extra>`,
});
// A single budget needs no axis: a line a method, so that equal accuracies do not hide each other.
const byMethod = (rows) => {
  const own = rows.filter((r) => !off.has(r.m)).sort((a, b) => a.after[0] - b.after[0]);
  const y = own.map((_, i) => i);
  const across = [["clean", "clean"], ["before", "poisoned"]].map(([key, name]) => ({ x: 100 * rows[0][key][0], name }));
  const short = $("chart-budget").clientWidth < 420 ? 18 : 34;
  return {
    traces: own.map((r, i) => ({
      x: [100 * r.after[0]], y: [i], mode: "markers", name: plain(r.m),
      marker: { color: colour(r.m), symbol: data.looks[r.m].marker, size: 10, line: { color: edge(), width: 1 } },
      error_x: { type: "data", array: [100 * (r.after[1] || 0)], thickness: 1, width: 3, color: colour(r.m), visible: Boolean(r.after[1]) },
      hovertemplate: `<b>${plain(r.m)}</b><br>after %{x:.1f} %<extra></extra>`,
    })),
    layout: {
      shapes: across.map((a) => ({ type: "line", x0: a.x, x1: a.x, yref: "paper", y0: 0, y1: 1, layer: "below", line: { color: token("--muted"), width: 1, dash: "dot" } })),
      annotations: across.map((a) => ({ x: a.x, y: 1, yref: "paper", yanchor: "bottom", text: a.name, showarrow: false, font: { size: 11, color: token("--muted") } })),
      margin: { l: 56, r: 24, t: 30, b: 48 }, xaxis: { title: "test accuracy (%)" },
      yaxis: { tickvals: y, ticktext: own.map((r) => plain(r.m.length > short ? r.m.slice(0, short - 1) + "…" : r.m)), showgrid: false, zeroline: false, range: [-0.7, own.length - 0.3] },
    },
  };
};
register("chart-budget", () => {
  const rows = data.rows.filter((r) => r.e === chosen() && r.after[0] !== null);
  const budgets = [...new Set(rows.map((r) => r.b))].sort((a, b) => a - b);
  const firsts = budgets.map((b) => rows.find((r) => r.b === b));
  $("caption-budget").textContent = budgets.length > 1 ? "Accuracy over budget" : `Accuracy at budget ${budgets.length ? budgets[0].toLocaleString("en") : ""}`;
  if (budgets.length === 1) return byMethod(rows);
  const traces = [level(firsts, "clean", "clean model", "dot"), level(firsts, "before", "poisoned model", "dot")];
  for (const name of [...new Set(rows.map((r) => r.m))]) {
    if (off.has(name)) continue;
    const own = rows.filter((r) => r.m === name).sort((a, b) => a.b - b.b);
    traces.push({
      x: own.map((r) => r.b), y: own.map((r) => 100 * r.after[0]), name: plain(name), mode: "lines+markers",
      line: { color: colour(name), dash: data.looks[name].dash, width: 2 },
      marker: { color: colour(name), symbol: data.looks[name].marker, size: 9, line: { color: edge(), width: 1 } },
      error_y: { type: "data", array: own.map((r) => 100 * (r.after[1] || 0)), thickness: 1, width: 3, color: colour(name), visible: own.some((r) => r.after[1]) },
      hovertemplate: `<b>${plain(name)}</b><br>budget %{x:,}<br>after %{y:.1f} %<extra></extra>`,
    });
  }
  const ticks = budgets.length <= 8 ? { tickvals: budgets, tickformat: "," } : {};
  return { traces, layout: { xaxis: { title: "budget (corrupted rows)", ...ticks }, yaxis: { title: "test accuracy (%)" } } };
});
register("chart-seconds", () => {
  const own = data.repairs.filter((r) => r.e === chosen() && r.restored !== null && r.seconds > 0 && !off.has(r.m));
  const traces = [...new Set(own.map((r) => r.m))].map((name) => {
    const points = own.filter((r) => r.m === name);
    return {
      x: points.map((r) => r.seconds), y: points.map((r) => 100 * r.restored), mode: "markers", name: plain(name),
      customdata: points.map((r) => [r.b, r.s]),
      marker: { color: colour(name), symbol: data.looks[name].marker, size: 10, line: { color: edge(), width: 1 } },
      hovertemplate: `<b>${plain(name)}</b><br>budget %{customdata[0]:,}, seed %{customdata[1]}<br>%{y:.1f} % restored in %{x:,.1f} s<extra></extra>`,
    };
  });
  return { traces, layout: { xaxis: { title: "seconds", type: "log", ...logTicks(own.map((r) => r.seconds)) }, yaxis: { title: "restored share (%)" } } };
});
if ($("chart-experiment")) $("chart-experiment").addEventListener("input", () => { drawLegend(); redraw(["chart-budget", "chart-seconds"]); });
if ($("filter-experiment") && $("chart-experiment")) $("filter-experiment").addEventListener("input", (event) => {
  if (event.target.value) { $("chart-experiment").value = event.target.value; drawLegend(); redraw(["chart-budget", "chart-seconds"]); }
});
