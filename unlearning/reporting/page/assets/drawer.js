// A row in a drawer: what is known of one repair, seed by seed. What there is nothing of does not appear.
const drawer = $("drawer"), drawerBody = $("drawer-body");
const resolve = (k) => (k === null || k === undefined ? null : data.shared[k]);
const part = (title, cls = "") => {
  add(drawerBody, "h3", title);
  return add(drawerBody, "div", undefined, cls);
};
const classNames = (r) => {
  const names = data.experiments[r.e].classes;
  return Array.from({ length: r.classes }, (_, k) => (names && k < names.length ? names[k] : String(k)));
};
const openDrawer = (row, seed) => {
  const found = data.repairs.filter((r) => r.e === row.e && r.b === row.b && r.m === row.m);
  if (!found.length) return;
  const r = found.find((one) => String(one.s) === String(seed)) || found[0];
  keep("row", data.rows.indexOf(row));
  keep("seed", found.length > 1 ? r.s : "");
  $("drawer-title").textContent = row.m;
  drawerBody.replaceChildren();
  if (!drawer.open) drawer.showModal();
  add(drawerBody, "p", [data.experiments.length > 1 ? data.experiments[row.e].label : "", `budget ${grouped(row.b)}`, `told ${row.t}`, `${row.v} validation labels`, row.tag || row.standing].filter(Boolean).join(" · "), "note");
  if (found.length > 1) {
    const box = add(drawerBody, "div", undefined, "controls"), choice = add(add(box, "label", "Seed "), "select");
    choice.id = "drawer-seed";
    fill(choice, found.map((one) => [one.s, one.s]));
    choice.value = String(r.s);
    choice.addEventListener("input", () => { openDrawer(row, choice.value); $("drawer-seed").focus(); });
  }
  drawFacts(r);
  drawCurves(r, data.looks[row.m]);
  drawRecall(r, data.looks[row.m]);
  drawConfusions(r);
  drawResiduals(r, data.looks[row.m]);
  drawMade(row);
};
const drawFacts = (r) => {
  const n = r.n, list = add(drawerBody, "dl", undefined, "facts");
  const facts = [
    ["test accuracy", change([n.before, n.after])], ["clean model", n.clean === null ? null : `${percent(n.clean)} %`],
    ["restored", n.restored === null ? "nothing was lost" : `${percent(n.restored)} %`], ["status", r.status + (r.applied ? "" : " (not applied)")],
    ["validation accuracy", change(r.validation)], ["wrong label still said", change(r.wrong)],
    ["membership AUC", r.membership[0] === null || r.membership[1] === null ? null : r.membership.map((v) => v.toFixed(2)).join(" → ")],
    ["seconds", n.seconds === null ? null : grouped(n.seconds, 1)], ["processor seconds", n.cpu === null ? null : grouped(n.cpu, 1)],
    ["share of training", n.training_share === null ? null : `${percent(n.training_share)} %`],
    ["gradients", n.grads ? grouped(n.grads) : null], ["curvature products", n.products ? grouped(n.products) : null],
  ];
  for (const [name, text] of facts) if (text !== null) { const box = add(list, "div"); add(box, "dt", name); add(box, "dd", text); }
};
const drawCurves = (r, look) => {
  const steps = resolve(r.steps), epochs = resolve(r.epochs);
  if (!steps && !(epochs && epochs.length > 1)) return;
  const pair = part("Curves", "pair");
  if (steps) lineChart(figure(pair, "Validation accuracy by step of the repair, on the rows that choose"), [{ look, points: steps.map(([k, v]) => [k, 100 * v, 0, `step ${k}: ${percent(v)} %`]) }], { x: "step", y: "validation accuracy (%)", whole: true, least: 0.5 }, { dots: steps.length < 40 });
  if (epochs && epochs.length > 1) lineChart(figure(pair, "Training of the poisoned model, on its given labels"), [{ look: mainLook, points: epochs.map(([k, v, l]) => [k, 100 * v, 0, `epoch ${k}: ${percent(v)} %, loss ${l}`]) }], { x: "epoch", y: "training accuracy (%)", whole: true, least: 0.5 }, {});
};
const drawRecall = (r, look) => {
  const [before, after] = r.recall.map(resolve);
  if (!before || !after) return;
  const names = classNames(r), clean = data.experiments[r.e].clean[r.s], parent = figure(part("Classes"), "Recall on the test rows, by class: before (circle), after (mark), clean model (line)");
  const height = names.length * 20 + 56, { node, width } = begin(parent, height, "Recall of each class before and after the repair");
  const room = Math.min(Math.max(...names.map(widthOf)) + 12, width * 0.36), box = { left: room, right: width - 104, top: 8, bottom: height - 42 };
  const all = [...before, ...after, ...(clean || [])].filter((v) => v !== null && v !== undefined), x = scale(all.map((v) => 100 * v), box.left + 6, box.right - 6, { least: 0.5 });
  axes(node, box, x, null, { x: "recall (%)" });
  names.forEach((name, k) => {
    const y = box.top + 12 + 20 * k, a = before[k], b = after[k];
    svg(label(node, box.left - 8, y + 4, cut(name, room - 10), "", "end"), "title", {}, name);
    if (a === null || b === null) return;
    svg(node, "path", { d: `M${x(100 * a)} ${y}H${x(100 * b)}`, class: "move" });
    mark(node, x(100 * a), y, { ...greyLook, filled: false }, `${name} before: ${percent(a)} %`, 1.1);
    if (clean && typeof clean[k] === "number") svg(node, "path", { d: `M${x(100 * clean[k])} ${y - 6}V${y + 6}`, class: "goal", "data-tip": `${name}, clean model: ${percent(clean[k])} %` });
    mark(node, x(100 * b), y, look, `${name} after: ${percent(b)} %`, 1.2);
    label(node, width - 2, y + 4, `${percent(a, 0)} → ${percent(b, 0)} %`, "", "end");
  });
};
const heat = (parent, values, names, tip, cls) => {
  const count = names.length, small = count > 12, { node, width } = begin(parent, Math.max(200, parent.clientWidth || 300) + 4, parent.previousSibling.textContent);
  const room = small ? 18 : Math.min(Math.max(...names.map(widthOf)) + 8, width * 0.28), cell = (width - room - 2) / count;
  const most = Math.max(...values.flat().map(Math.abs), 0.01);
  values.forEach((row, i) => row.forEach((v, j) => {
    const strength = cls === "shares" ? v : Math.abs(v) / most, where = { x: room + j * cell, y: 2 + i * cell, width: Math.max(cell - 1, 0.5), height: Math.max(cell - 1, 0.5) };
    const way = cls === "shares" ? "" : (v > 0) === (i === j) ? " better" : " worse";
    const box = svg(node, "rect", { ...where, class: `cell${way}`, "fill-opacity": strength.toFixed(3), "data-tip": tip(i, j) });
    svg(box, "title", {}, tip(i, j));
    const text = cls === "shares" ? (100 * v).toFixed(0) : `${v > 0 ? "+" : ""}${(100 * v).toFixed(0)}`;
    if (!small && cell > 20 && text !== "0" && text !== "-0" && text !== "+0") svg(node, "text", { x: where.x + cell / 2, y: where.y + cell / 2 + 4, "text-anchor": "middle", class: strength > 0.55 ? "number strong-cell" : "number" }, text);
  }));
  if (!small) names.forEach((name, k) => {
    label(node, room - 5, 2 + (k + 0.5) * cell + 4, cut(name, room - 6), "tick", "end");
    const at = room + (k + 0.5) * cell;
    svg(node, "text", { transform: `translate(${at + 4},${6 + count * cell}) rotate(-90)`, class: "tick", "text-anchor": "end" }, cut(name, room - 6));
  });
  node.setAttribute("viewBox", `0 0 ${width} ${2 + count * cell + (small ? 18 : room + 6)}`);
  if (small) label(node, room, 2 + count * cell + 13, "predicted class →", "tick");
};
const drawConfusions = (r) => {
  const [before, after] = r.confusion.map(resolve), names = classNames(r);
  const shares = (counts) => counts.map((row) => { const sum = row.reduce((a, b) => a + b, 0) || 1; return row.map((n) => n / sum); });
  if (before && after) {
    const three = part("Confusion of classes", "three"), a = shares(before), b = shares(after);
    const tip = (counts, z) => (i, j) => `${names[i]} taken for ${names[j]}: ${percent(z[i][j])} % (${grouped(counts[i][j])} rows)`;
    heat(figure(three, "Before, % of each true class"), a, names, tip(before, a), "shares");
    heat(figure(three, "After, % of each true class"), b, names, tip(after, b), "shares");
    heat(figure(three, "Change, in points"), b.map((row, i) => row.map((v, j) => v - a[i][j])), names, (i, j) => `${names[i]} taken for ${names[j]}: ${percent(a[i][j])} → ${percent(b[i][j])} %`, "change");
    add(drawerBody, "p", "Rows: true class; columns: predicted class. In the change, blue is better and orange is worse.", "note");
    return;
  }
  const drawn = ["before", "after"].filter((when) => r.figures[when] !== undefined && r.figures[when] !== null);
  if (!drawn.length) return;
  const pair = part("Confusion of classes", "pair");
  for (const when of drawn) { const image = add(figure(pair, when === "before" ? "Before" : "After"), "img", undefined, "static"); image.src = data.images[r.figures[when]]; image.alt = `Confusion matrix ${when} the repair`; }
};
const drawResiduals = (r, look) => {
  const known = r.chosen.length > 0;
  const own = (c) => { const chosen = r.chosen.find((one) => c.k.endsWith(`step ${one.k}`)); return !known || (chosen && chosen.c === (c.d ? "damped" : "plain")); };
  const curves = r.curves.filter((c) => (known ? own(c) : !c.d));
  if (!curves.length && !known) return;
  const parent = figure(part("Solver"), known ? "Relative residual of the systems that were chosen, step by step" : "Residual of each solve");
  const series = curves.map((c) => ({ name: c.k, look, points: c.x.map((x, k) => [x, c.y[k]]) }));
  for (const c of r.chosen) if (!curves.some((one) => one.k.endsWith(`step ${c.k}`))) series.push({ name: `step ${c.k}`, look, points: [[c.x, c.y, 0, `step ${c.k}, damping ${c.damping}: residual ${named(Number(c.y.toPrecision(2)))} after ${c.x} iterations`]] });
  series.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  lineChart(parent, series, { x: "iteration", y: (r.measure || "relative residual").replaceAll("_", " "), whole: true, least: 0.5 }, { log: true, from: 0, height: Math.max(260, 15 * series.length + 70) });
  if (known) add(drawerBody, "p", "Several dampings are solved for at once, and validation chooses one. A point alone: of that system only the end is on record.", "note");
};
const drawMade = (row) => {
  const found = [...document.querySelectorAll("[data-made]")].filter((node) => node.dataset.made === `${row.e}/${row.b}/${row.m}`);
  if (!found.length) return;
  const parent = part("Settings and command");
  for (const node of found) {
    const own = node.cloneNode(true);
    own.removeAttribute("data-made");
    own.querySelector("h3").remove();
    if (!own.querySelector(".settings")) own.prepend(Object.assign(document.createElement("p"), { className: "note", textContent: "All settings are the usual ones." }));
    const command = own.querySelector(".command");
    if (command) {
      const button = add(own, "button", "Copy the command", "plain");
      button.type = "button";
      button.addEventListener("click", () => copy(command.textContent, (said) => { button.textContent = `Command ${said}`; }));
    }
    parent.append(own);
  }
};
$("drawer-close").addEventListener("click", () => drawer.close());
drawer.addEventListener("click", (event) => { if (event.target === drawer) drawer.close(); });
drawer.addEventListener("close", () => {
  document.body.append($("tip"));
  $("tip").hidden = true;
  if (state.row === undefined) return;
  keep("row", "");
  keep("seed", "");
});
