"use strict";
(() => {
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

  // Plotly is most of this page: it is read once the table can be used, or when a chart comes into view before that.
  const loadPlotly = () => {
    if (window.Plotly) return;
    const script = document.createElement("script");
    script.textContent = $("plotly").textContent;
    document.head.append(script);
    $("plotly").remove();
  };
  const charts = {};  // id -> function that returns traces and layout, or null
  const seen = new Set();
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.add(entry.target.id);
      observer.unobserve(entry.target);
      requestAnimationFrame(() => setTimeout(() => draw(entry.target.id)));
    }
  }, { rootMargin: "150px" });
  const register = (id, build) => {
    if (!$(id)) return;
    charts[id] = build;
    observer.observe($(id));
  };
  const token = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const draw = (id) => {
    const node = $(id);
    if (!seen.has(id) || node.hidden || !node.clientWidth) return;
    const built = charts[id]();
    if (!built) return;
    loadPlotly();
    const ink = token("--ink"), muted = token("--muted"), line = token("--line");
    const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, tickcolor: line, tickfont: { color: muted }, title: { font: { color: muted, size: 12 }, standoff: 10 }, automargin: true };
    const layout = Object.assign({
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: ink },
      margin: { l: 56, r: 18, t: 18, b: 48 }, hovermode: "closest",
      hoverlabel: { bgcolor: token("--surface"), bordercolor: line, font: { color: ink, size: 12, family: getComputedStyle(document.body).fontFamily }, align: "left" },
    }, built.layout);
    for (const name of ["xaxis", "yaxis"]) {
      const own = built.layout[name] || {};
      layout[name] = { ...axis, ...own, title: { ...axis.title, text: own.title || "" } };
    }
    window.Plotly.react(node, built.traces, layout, { responsive: true, displayModeBar: false });
    node.dataset.drawn = "true";
  };
  const redraw = (ids = Object.keys(charts)) => ids.forEach(draw);
  // 1, 2 and 5 of each power of ten; the powers alone where there are many.
  const logTicks = (values) => {
    const logs = values.filter((v) => v > 0).map(Math.log10);
    if (!logs.length) return {};
    const low = Math.floor(Math.min(...logs)), high = Math.ceil(Math.max(...logs));
    const tickvals = [];
    for (let power = low; power <= high; power++) for (const digit of high - low > 3 ? [1] : [1, 2, 5]) tickvals.push(Number(`${digit}e${power}`));
    const named = (v) => (v >= 1e-3 && v < 1e6 ? v.toLocaleString("en", { maximumSignificantDigits: 1 }) : v.toExponential(0));
    return { tickvals, ticktext: tickvals.map(named) };
  };
  const colour = (name) => (isDark() ? data.looks[name].dark : data.looks[name].light);
  const edge = () => (isDark() ? "#14171c" : "#44494f");

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
      const clean = data.experiments[r.e].clean;
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
    const names = classes(r), y = names.map((_, k) => k), clean = data.experiments[r.e].clean;
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

  // Detections: scores and pictures of one at a time.
  const gallery = (found) => data.galleries.find((g) => g.e === found.e && g.b === found.b && g.s === found.s && g.d === found.d);
  const showDetection = () => {
    const found = data.detections[Number($("pick-d").value)];
    const drawn = found.figure !== null;
    $("figure-scores").hidden = !drawn;
    if (drawn) $("figure-scores").src = data.images[found.figure];
    $("chart-scores").hidden = drawn || !found.counts.length;
    $("scores-note").textContent = drawn ? "" : found.counts.length ? "Scores of the rows that the list of suspects holds." : "Neither the figure of the scores nor the list of suspects is kept.";
    if (!$("chart-scores").hidden) { if (seen.has("chart-scores")) draw("chart-scores"); else observer.observe($("chart-scores")); }
    const own = gallery(found), list = $("gallery");
    list.replaceChildren();
    $("gallery-title").textContent = own && own.influence ? "Most influential images" : "Most suspicious images";
    if (!own) { $("gallery-note").textContent = "No pictures of this detection; the reason stands below."; return; }
    $("gallery-note").textContent = "Highest score first." + (own.repair ? ` “After” is predicted by ${own.repair}.` : "");
    const names = data.experiments[own.e].classes;
    const label = (k) => (k === null ? "–" : names && k < names.length ? names[k] : String(k));
    for (const item of own.items) {
      const li = add(list, "li");
      const image = add(li, "img");
      image.src = data.images[item.i];
      image.alt = `row ${item.row}, labelled ${label(item.given)}`;
      image.loading = "lazy";
      image.width = image.height = 96;
      const dl = add(li, "dl");
      for (const [name, k, text] of [["given", item.given], ["true", item.true], ["corrected", item.corrected, item.corrected === null ? "removed" : undefined], ["before", item.before], ["after", item.after]]) {
        if (k === null && text === undefined) continue;
        add(dl, "dt", name);
        add(dl, "dd", text || label(k), name === "true" || k === null ? "" : k === item.true ? "right" : "wrong");
      }
      add(dl, "dt", "row");
      add(dl, "dd", item.row.toLocaleString("en"));
    }
  };
  register("chart-scores", () => {
    const found = data.detections[Number($("pick-d").value)];
    if (!found || !found.counts.length) return null;
    const x = found.counts.map((_, i) => (found.edges[i] + found.edges[i + 1]) / 2), width = found.edges[1] - found.edges[0];
    const shapes = found.threshold === null ? [] : [{ type: "line", x0: found.threshold, x1: found.threshold, yref: "paper", y0: 0, y1: 1, line: { color: token("--bad"), width: 1.5, dash: "dash" } }];
    return { traces: [{ type: "bar", x, y: found.counts, width, marker: { color: token("--accent") }, hovertemplate: "score %{x:.4g}<br>%{y:,} rows<extra></extra>" }], layout: { bargap: 0, shapes, xaxis: { title: "score" }, yaxis: { title: "rows" } } };
  });
  if (data.detections.length) {
    fill($("pick-d"), data.detections.map((d, i) => [i, `${data.experiments.length > 1 ? data.experiments[d.e].label + ", " : ""}budget ${d.b.toLocaleString("en")}, seed ${d.s}: ${d.d}`]));
    $("pick-d").addEventListener("input", showDetection);
    showDetection();
  }

  showTheme();
  root.dataset.ready = "true";
  if (data.repairs.length) requestAnimationFrame(() => (window.requestIdleCallback || setTimeout)(loadPlotly, { timeout: 2000 }));
})();
