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
