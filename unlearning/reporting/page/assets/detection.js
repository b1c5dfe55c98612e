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
