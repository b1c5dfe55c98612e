// Charts as SVG whose colours are variables of the page: they follow the theme, and print as they are.
const svg = (parent, tag, attributes = {}, text) => {
  const node = parent.appendChild(document.createElementNS("http://www.w3.org/2000/svg", tag));
  for (const [key, v] of Object.entries(attributes)) node.setAttribute(key, v);
  if (text !== undefined) node.textContent = text;
  return node;
};
const SHAPES = {
  circle: "M6.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0", square: "M7 -3h6v6h-6z", diamond: "M10 -4l4 4l-4 4l-4 -4z",
  "triangle-up": "M10 -4l4 7h-8z", "triangle-down": "M10 4l4 -7h-8z", "triangle-left": "M6 0l7 -4v8z", "triangle-right": "M14 0l-7 -4v8z",
  pentagon: "M10 -4l3.8 2.8-1.4 4.4h-4.8l-1.4-4.4z", hexagon: "M10 -4l3.5 2v4l-3.5 2-3.5-2v-4z", cross: "M9 -4h2v3h3v2h-3v3h-2v-3h-3v-2h3z", x: "M7 -3.6l3 2.4 3-2.4 1 1.2-2.6 2.4 2.6 2.4-1 1.2-3-2.4-3 2.4-1-1.2 2.6-2.4-2.6-2.4z",
  star: "M10 -4.5l1.3 3 3.2.2-2.5 2 .9 3.1-2.9-1.8-2.9 1.8.9-3.1-2.5-2 3.2-.2z",
};
const FONT = 11.5;
const measured = document.createElement("canvas").getContext("2d");
const widthOf = (text, strong = false) => { measured.font = `${strong ? "bold " : ""}${FONT}px ${getComputedStyle(document.body).fontFamily}`; return measured.measureText(text).width; };
const cut = (text, room, strong = false) => {
  if (widthOf(text, strong) <= room) return text;
  let end = text.length;
  while (end > 1 && widthOf(`${text.slice(0, end)}…`, strong) > room) end -= 1;
  return `${text.slice(0, end)}…`;
};
const begin = (parent, height, label) => {
  const width = Math.max(260, parent.clientWidth || 560);
  const node = svg(parent, "svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": label });
  return { node, width, height };
};
const tint = (look) => `--light:${look.light};--dark:${look.dark}`;
const mark = (parent, x, y, look, tip, size = 1.35) => {
  const node = svg(parent, "path", { d: SHAPES[look.marker], transform: `translate(${x},${y}) scale(${size}) translate(-10,0)`, class: look.filled === false ? "mark hollow" : "mark", style: tint(look), "data-tip": tip });
  svg(node, "title", {}, tip);
  return node;
};
const label = (parent, x, y, text, cls = "", anchor = "start") => svg(parent, "text", { x, y, class: cls, "text-anchor": anchor }, text);
// At least two ticks on every axis.
const ticks = (low, high, most = 5) => {
  const raw = (high - low) / most, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= raw * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(Number((k * step).toPrecision(12)));
  return found.length >= 2 || most > 20 ? found : ticks(low, high, most * 2);
};
const logTicks = (low, high) => {
  for (const digits of [[1], [1, 3], [1, 2, 5], [1, 2, 3, 4, 5, 6, 7, 8, 9]]) {
    const found = [];
    for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++) for (const d of digits) { const v = Number(`${d}e${p}`); if (v >= low && v <= high) found.push(v); }
    if (found.length > 8) return found.filter((_, k) => k % Math.ceil(found.length / 7) === 0);
    if (found.length >= (digits.length > 3 ? 2 : 3)) return found;
  }
  return ticks(low, high);
};
const named = (v) => (v !== 0 && (Math.abs(v) < 1e-3 || Math.abs(v) >= 1e6) ? v.toExponential(0).replace("e", "·10^").replace("^+", "^").replace(/\^(-?\d+)/, (_, n) => [...n].map((c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] || "⁻").join("")).replace("1·", "") : v.toLocaleString("en", { maximumSignificantDigits: 6 }));
const scale = (values, from, to, { log = false, room = 0.06, least = 0 } = {}) => {
  const good = values.filter((v) => Number.isFinite(v) && (!log || v > 0));
  let low = Math.min(...good), high = Math.max(...good);
  if (!good.length) { low = log ? 1 : 0; high = log ? 10 : 1; }
  if (log) { const r = Math.max((high / low) ** room, 1.3); low /= r; high *= r; } else { const r = Math.max(room * (high - low), least, 1e-9 * Math.abs(high), 1e-12); low -= r; high += r; }
  const f = log ? Math.log10 : (v) => v, a = f(low), b = f(high);
  const at = (v) => from + ((f(Math.max(v, log ? low : -Infinity)) - a) / (b - a)) * (to - from);
  return Object.assign(at, { ticks: log ? logTicks(low, high) : ticks(low, high), low, high });
};
const axes = (node, box, x, y, titles) => {
  let last = -Infinity;
  if (x) for (const v of x.ticks) {
    svg(node, "path", { d: `M${x(v)} ${box.top}V${box.bottom}`, class: "grid" });
    const text = named(v), half = widthOf(text) / 2;
    if (x(v) - half > last + 4) { label(node, x(v), box.bottom + 16, text, "tick", "middle"); last = x(v) + half; }
  }
  if (y) for (const v of y.ticks) {
    svg(node, "path", { d: `M${box.left} ${y(v)}H${box.right}`, class: "grid" });
    label(node, box.left - 7, y(v) + 4, named(v), "tick", "end");
  }
  if (titles.x) label(node, (box.left + box.right) / 2, box.bottom + 34, titles.x, "title", "middle");
  if (titles.y) svg(node, "text", { transform: `translate(12,${(box.top + box.bottom) / 2}) rotate(-90)`, class: "title", "text-anchor": "middle" }, titles.y);
};
const spreadOf = (r) => (r.n.after[1] !== null ? r.n.after[1] : r.x || 0);
const accuracy = (r) => `${percent(r.n.after[0])}${spreadOf(r) ? ` ± ${percent(spreadOf(r))}` : ""} %`;

// One dot plot a budget: names stand at their dots, numbers beside them, the best on top.
const dotPlot = (parent, rows, key, xtitle, series) => {
  const lists = rows.map((r) => r.dots), all = lists.flat();
  const height = rows.length * 22 + 78, { node, width } = begin(parent, height, `${xtitle} by method; the numbers are those of the table`);
  const room = Math.min(Math.max(...rows.map((r) => widthOf(r.name, r.strong))) + 12, width * 0.46), numbers = series ? 14 : 84;
  const box = { left: room, right: width - numbers, top: 34, bottom: height - 42 };
  const across = key === "after" ? [["poisoned", "before"], ["clean", "clean"]].map(([text, k]) => [text, all[0].r.n[k][0]]).filter(([, v]) => v !== null) : [];
  const x = scale([...all.flatMap((d) => [d.v - d.sd, d.v + d.sd]), ...across.map(([, v]) => 100 * v)], box.left + 6, box.right - 6, { least: 0.5 });
  axes(node, box, x, null, { x: xtitle });
  const close = across.length > 1 && Math.abs(x(100 * across[0][1]) - x(100 * across[1][1])) < 130;
  across.forEach(([text, v], k) => {
    svg(node, "path", { d: `M${x(100 * v)} ${box.top}V${box.bottom}`, class: "level" });
    const said = `${text} ${percent(v)}`, half = widthOf(said) / 2;
    label(node, Math.max(half, Math.min(x(100 * v), width - half)), close && k ? 12 : 26, said, "tick", "middle");
  });
  rows.forEach((row, k) => {
    const y = box.top + 14 + 22 * k;
    svg(label(node, box.left - 8, y + 4, cut(row.name, room - 10, row.strong), row.strong ? "strong" : "", "end"), "title", {}, row.name);
    for (const d of row.dots) {
      if (d.sd) svg(node, "path", { d: `M${x(d.v - d.sd)} ${y}H${x(d.v + d.sd)}`, class: "bar", style: tint(d.look) });
      mark(node, x(d.v), y, d.look, d.tip);
    }
    if (!series) label(node, width - 2, y + 4, row.text, row.strong ? "strong" : "", "end");
  });
  return node;
};

// Names beside their points: the nearest free place, with a line to it where that is not at the point.
const nameOf = (node, points, box, obstacles) => {
  const taken = [...points.map((p) => [p.x - 6, p.y - 6, p.x + 6, p.y + 6]), ...obstacles];
  const free = (b) => b[0] >= box.left && b[2] <= box.right && b[1] >= box.top && b[3] <= box.bottom && !taken.some((t) => b[0] < t[2] && t[0] < b[2] && b[1] < t[3] && t[1] < b[3]);
  for (const p of points) {
    const text = cut(p.name, 200, p.strong), w = widthOf(text, p.strong) + 2, h = 13;
    for (const [cx, cy] of PLACES) {
      const left = cx >= 0 ? p.x + Math.max(cx, cy ? 0 : 9) - (cx ? 0 : w / 2) : p.x + cx - w;
      const at = [left, p.y + cy - h / 2, left + w, p.y + cy + h / 2];
      if (!free(at)) continue;
      taken.push(at);
      if (Math.hypot(cx, cy) > 20) svg(node, "path", { d: `M${p.x} ${p.y}L${cx > 0 ? at[0] - 1 : cx < 0 ? at[2] + 1 : p.x} ${p.y + cy}`, class: "leader" });
      svg(label(node, at[0] + 1, p.y + cy + 4, text, p.strong ? "strong" : ""), "title", {}, p.name);
      break;
    }
  }
};
const PLACES = [[9, 0], [-9, 0], [0, -13], [0, 13]];
for (let radius = 14; radius <= 220; radius += 8) for (let k = 0; k < 16; k++) PLACES.push([radius * Math.cos((k * Math.PI) / 8), radius * Math.sin((k * Math.PI) / 8)].map((v) => (Math.abs(v) < 1e-6 ? 0 : v)));

// Accuracy over cost, and the line that joins those which nothing cheaper reaches.
const pareto = (parent, rows) => {
  const key = rows.every((r) => r.n.training_share[0] > 0) ? "training_share" : "cpu";
  const own = rows.filter((r) => r.n[key][0] > 0);
  if (!own.length) return;
  const { node, width, height } = begin(parent, Math.max(320, Math.min(rows.length * 22 + 78, 520)), "Test accuracy over the cost of the repair; the numbers are those of the table");
  const box = { left: 50, right: width - 8, top: 12, bottom: height - 42 }, unit = key === "cpu" ? 1 : 100;
  const x = scale(own.map((r) => unit * r.n[key][0]), box.left + 8, box.right - 8, { log: true, room: 0.1 });
  const levels = [["poisoned", own[0].n.before[0]], ["clean", own[0].n.clean[0]]].filter(([, v]) => v !== null);
  const y = scale([...own.map((r) => 100 * r.n.after[0]), ...levels.map(([, v]) => 100 * v)], box.bottom - 6, box.top + 6, { least: 0.5 });
  axes(node, box, x, y, { x: key === "cpu" ? "processor seconds (log)" : "processor time, % of a training (log)", y: "test accuracy (%)" });
  const obstacles = [];
  for (const [text, v] of levels) {
    svg(node, "path", { d: `M${box.left} ${y(100 * v)}H${box.right}`, class: "level" });
    label(node, box.left + 4, y(100 * v) - 4, `${text} model`, "tick");
    obstacles.push([box.left, y(100 * v) - 15, box.left + 4 + widthOf(`${text} model`), y(100 * v)], [box.left, y(100 * v) - 1, box.right, y(100 * v) + 1]);
  }
  let top = -Infinity;
  const front = [...own].sort((a, b) => a.n[key][0] - b.n[key][0] || b.n.after[0] - a.n.after[0]).filter((r) => r.n.after[0] > top && ((top = r.n.after[0]), true));
  const at = (r) => [x(unit * r.n[key][0]), y(100 * r.n.after[0])];
  svg(node, "path", { d: `M${front.map(at).map(([a, b], k) => (k ? `H${a}V${b}` : `${a} ${b}`)).join("")}H${box.right}`, class: "front" });
  front.map(at).forEach(([a, b], k, all) => {
    const [next, up] = all[k + 1] || [box.right, b];
    obstacles.push([a, b - 1, next, b + 1], [next - 1, up, next + 1, b]);
  });
  const order = [...front, ...own.filter((r) => !front.includes(r))];
  for (const r of order) mark(node, ...at(r), data.looks[r.m], `${r.m}: ${accuracy(r)} at ${named(Number((unit * r.n[key][0]).toPrecision(3)))} ${key === "cpu" ? "processor seconds" : "% of a training"}`);
  nameOf(node, order.map((r) => ({ x: at(r)[0], y: at(r)[1], name: r.m, strong: front.includes(r) })), { ...box, left: box.left + 2, top: box.top - 6 }, obstacles);
};

// Lines with their names at the end.
const lineChart = (parent, series, titles, { log = false, height = 260, dots = false, from = null, xticks = null } = {}) => {
  const { node, width } = begin(parent, height, `${titles.y} over ${titles.x}`);
  const ends = series.filter((s) => s.name).map((s) => widthOf(s.name)), room = ends.length ? Math.min(Math.max(...ends) + 14, width * 0.4) : 10;
  const box = { left: log ? 62 : 50, right: width - room, top: 12, bottom: height - 42 };
  const x = scale([...series.flatMap((s) => s.points.map((p) => p[0])), ...(from === null ? [] : [from])], box.left + 6, box.right - 6, { room: 0.02 });
  if (xticks) x.ticks = xticks;
  const y = scale([...series.flatMap((s) => s.points.flatMap((p) => [p[1] - (p[2] || 0), p[1] + (p[2] || 0)]))], box.bottom - 6, box.top + 6, { log, least: log ? 0 : titles.least || 0 });
  if (!xticks && x.ticks.some((v) => !Number.isInteger(v)) && titles.whole) x.ticks = unique(x.ticks.map(Math.round)).filter((v) => v >= x.low && v <= x.high);
  axes(node, box, x, y, titles);
  const labels = [];
  for (const s of series) {
    const points = s.points.filter((p) => Number.isFinite(p[1]) && (!log || p[1] > 0));
    if (!points.length) continue;
    const style = tint(s.look);
    svg(node, "path", { d: `M${points.map((p) => `${x(p[0])} ${y(p[1])}`).join("L")}`, class: `line ${s.cls || ""}`, style, "data-tip": s.tip || s.name || "" });
    if (dots || points.length === 1) for (const p of points) {
      if (p[2]) svg(node, "path", { d: `M${x(p[0])} ${y(p[1] - p[2])}V${y(p[1] + p[2])}`, class: "bar", style });
      mark(node, x(p[0]), y(p[1]), s.look, p[3] || s.name || "");
    }
    const end = points[points.length - 1];
    if (s.name) labels.push({ y: y(end[1]), to: [x(end[0]), y(end[1])], name: s.name });
  }
  labels.sort((a, b) => a.y - b.y).forEach((l, k) => { l.at = Math.max(l.y, k ? labels[k - 1].at + 13 : 10); });
  for (let k = labels.length - 1, low = box.bottom + 4; k >= 0; k--) { labels[k].at = Math.min(labels[k].at, low); low = labels[k].at - 13; }
  for (const l of labels) {
    if (Math.abs(l.at - l.to[1]) > 7) svg(node, "path", { d: `M${l.to[0]} ${l.to[1]}L${box.right + 4} ${l.at}`, class: "leader" });
    svg(label(node, box.right + 6, l.at + 4, cut(l.name, room - 8)), "title", {}, l.name);
  }
};
