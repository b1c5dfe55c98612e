// Detections: scores and pictures of one at a time.
const gallery = (found) => data.galleries.find((g) => g.e === found.e && g.b === found.b && g.s === found.s && g.d === found.d);
const showDetection = () => {
  const found = data.detections[Number($("pick-d").value)];
  const drawn = found.figure !== null;
  $("figure-scores").hidden = !drawn;
  if (drawn) $("figure-scores").src = data.images[found.figure];
  $("chart-scores").hidden = drawn || !found.counts.length;
  $("scores-note").textContent = drawn ? "" : found.counts.length ? "Scores of the rows that the list of suspects holds." : "";
  $("scores-title").hidden = !drawn && !found.counts.length;
  drawScores(found);
  const own = gallery(found), list = $("gallery");
  list.replaceChildren();
  $("gallery-title").textContent = own && own.influence ? "Most influential images" : "Most suspicious images";
  $("gallery-title").hidden = $("gallery-note").hidden = !own;
  if (!own) return;
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
const drawScores = (found) => {
  const parent = $("chart-scores");
  parent.replaceChildren();
  if (parent.hidden) return;
  const { node, width, height } = begin(parent, 260, "Histogram of the detector's scores"), box = { left: 56, right: width - 10, top: 14, bottom: height - 42 };
  const x = scale([...found.edges, ...(found.threshold === null ? [] : [found.threshold])], box.left, box.right, { room: 0.01 });
  const y = scale([0, ...found.counts], box.bottom, box.top, { room: 0 });
  axes(node, box, x, y, { x: "score", y: "rows" });
  found.counts.forEach((n, k) => svg(node, "rect", { x: x(found.edges[k]), y: y(n), width: Math.max(x(found.edges[k + 1]) - x(found.edges[k]) - 1, 1), height: Math.max(box.bottom - y(n), 0), class: "column", "data-tip": `score ${found.edges[k]} to ${found.edges[k + 1]}: ${grouped(n)} rows` }));
  if (found.threshold !== null) { svg(node, "path", { d: `M${x(found.threshold)} ${box.top}V${box.bottom}`, class: "threshold" }); label(node, x(found.threshold) + (x(found.threshold) > width / 2 ? -6 : 6), box.top + 10, "threshold", "tick", x(found.threshold) > width / 2 ? "end" : "start"); }
};
if (data.detections.length) {
  fill($("pick-d"), data.detections.map((d, i) => [i, `${data.experiments.length > 1 ? data.experiments[d.e].label + ", " : ""}budget ${d.b.toLocaleString("en")}, seed ${d.s}: ${d.d}`]));
  $("pick-d").addEventListener("input", showDetection);
  showDetection();
}

// Last: everything is there.
const start = () => {
  readState();
  if (table) showAll();
  if (state.row !== undefined && data.rows[Number(state.row)]) openDrawer(data.rows[Number(state.row)], state.seed);
  else if (drawer && drawer.open) drawer.close();
};
const drawAgain = () => {
  if (table) drawPanels();
  if (data.detections.length) drawScores(data.detections[Number($("pick-d").value)]);
};
if (table) startTable();
start();
addEventListener("hashchange", start);
let drawnAt = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === drawnAt) return;
  drawnAt = innerWidth;
  drawAgain();
});
root.dataset.ready = "true";
