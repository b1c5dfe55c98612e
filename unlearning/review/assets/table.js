// Decisions as a CSV file, and back.
const COLUMNS = ["row", "given_label", "suggested_label", "score", "suspect", "corrected_label", "decision"];

const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

function toCsv(withUnseen) {
  const lines = [[...COLUMNS, ...(data.files.length ? ["file"] : [])].join(",")];
  for (let i = 0; i < count; i++) {
    const seen = decided.has(i);
    if (!seen && !withUnseen) continue;
    const label = seen ? decided.get(i) : hasSuggestion(i) ? data.suggested[i] : REMOVED;
    const values = [data.rows[i], data.given[i], data.suggested[i], data.scores[i], data.suspect[i]];
    values.push(label === REMOVED ? "" : label, seen ? kindOf(i) : "unseen");
    lines.push([...values.map(String), ...(data.files.length ? [quoted(data.files[i])] : [])].join(","));
  }
  return `${lines.join("\n")}\n`;
}

function readCsv(text) {
  const lines = [[""]];
  let inside = false;
  for (let k = 0; k < text.length; k++) {
    const c = text[k];
    const line = lines.at(-1);
    if (c === '"' && inside && text[k + 1] === '"') line[line.length - 1] += text[++k];
    else if (c === '"') inside = !inside;
    else if (inside || !",\r\n".includes(c)) line[line.length - 1] += c;
    else if (c === ",") line.push("");
    else if (c === "\n") lines.push([""]);
  }
  return lines.filter((line) => line.length > 1);
}

// Returns the decisions in a file about these rows; null where it is no such file.
function fromCsv(text) {
  const [head, ...lines] = readCsv(text.replace(/^\ufeff/, ""));
  const at = (name) => head?.indexOf(name) ?? -1;
  if (at("row") < 0 || at("corrected_label") < 0) return null;
  const changes = [];
  for (const line of lines) {
    const i = numberOf.get(Number(line[at("row")]));
    const told = line[at("corrected_label")];
    const label = told === "" ? REMOVED : Number(told);
    const given = at("given_label") < 0 ? null : line[at("given_label")];
    if (i === undefined || !isLabel(label) || line[at("decision")] === "unseen") continue;
    if (given && Number(given) !== data.given[i]) return null;
    changes.push([i, label]);
  }
  return changes;
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([toCsv(byId("unseen")?.checked)], { type: "text/csv" }));
  link.download = data.file;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  saved = true;
}
