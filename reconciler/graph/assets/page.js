"use strict";
// Pan, zoom, search, details, the matrix of verification, and the path between two containers.
// All text reaches the page as textContent, so that no name is ever read as HTML.

const data = JSON.parse(document.getElementById("data").textContent);
const svg = document.querySelector("#view svg");
const details = document.getElementById("details");
const matrix = document.getElementById("matrix");
const things = [...svg.querySelectorAll("[data-id]")];
const wires = [...svg.querySelectorAll("[data-from]")];
const MATRIX_MAX = 48;

// --- what the data says -----------------------------------------------------

const byId = new Map([...data.hosts, ...data.subnets, ...data.nodes].map((each) => [each.id, each]));
byId.set("outside", { id: "outside", name: "outside", details: [{ word: "outside", text: "all nodes that are not in the file" }], badge: {} });
const cells = new Map();
for (const [source, target, symbol, reasons, question] of data.expectations) {
  if (!cells.has(source)) cells.set(source, new Map());
  cells.get(source).set(target, { symbol, question, reasons: reasons.map((number) => data.reasons[number]) });
}
const explained = new Map(data.paths.map((each) => [JSON.stringify([each.source, each.target]), each]));

// The names by which verification knows a thing.
function namesOf(id) {
  const thing = byId.get(id);
  if (id === "outside") return ["outside"];
  if (id.startsWith("host:")) return ["host " + thing.name];
  return thing.names || [];
}

function bare(name) {
  return name.replace(/^host /, "");
}

function titleOf(id) {
  const thing = byId.get(id);
  return thing.title || thing.name || id;
}

// --- pan and zoom -----------------------------------------------------------

const full = svg.viewBox.baseVal;
const whole = { x: full.x, y: full.y, width: full.width, height: full.height };
let frame = { ...whole };

function show(next) {
  frame = next;
  svg.setAttribute("viewBox", [frame.x, frame.y, frame.width, frame.height].map((n) => n.toFixed(2)).join(" "));
}

function zoom(factor, x = frame.x + frame.width / 2, y = frame.y + frame.height / 2) {
  const width = Math.min(whole.width * 3, Math.max(60, frame.width * factor));
  const scale = width / frame.width;
  show({ x: x - (x - frame.x) * scale, y: y - (y - frame.y) * scale, width, height: frame.height * scale });
}

function pointOf(event) {
  return new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
}

svg.addEventListener("wheel", (event) => {
  event.preventDefault();
  const point = pointOf(event);
  zoom(Math.exp(event.deltaY / 500), point.x, point.y);
}, { passive: false });

let grip = null;
let moved = false;
svg.addEventListener("pointerdown", (event) => { grip = pointOf(event); moved = false; });
window.addEventListener("pointermove", (event) => {
  if (!grip) return;
  const point = pointOf(event);
  if (!moved && Math.hypot(point.x - grip.x, point.y - grip.y) < frame.width / 300) return;
  moved = true;
  show({ ...frame, x: frame.x + grip.x - point.x, y: frame.y + grip.y - point.y });
});
window.addEventListener("pointerup", () => { grip = null; });
document.getElementById("larger").addEventListener("click", () => zoom(0.7));
document.getElementById("smaller").addEventListener("click", () => zoom(1 / 0.7));
document.getElementById("fit").addEventListener("click", () => show({ ...whole }));

// --- building the side panel ------------------------------------------------

function make(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function listOf(tag, texts) {
  const list = make(tag);
  list.append(...texts.map((text) => make("li", text)));
  return list;
}

function tableOf(lines) {
  const list = make("dl");
  for (const { word, text } of lines) list.append(make("dt", word), make("dd", text));
  return list;
}

function open(tab) {
  details.hidden = tab !== "details";
  matrix.hidden = tab !== "matrix";
  document.getElementById("show-details").classList.toggle("chosen", tab === "details");
  document.getElementById("show-matrix").classList.toggle("chosen", tab === "matrix");
}
document.getElementById("show-details").addEventListener("click", () => open("details"));
document.getElementById("show-matrix").addEventListener("click", () => open("matrix"));

// --- choosing one thing, or two ---------------------------------------------

let first = null;
let waits = false;

function clear() {
  svg.classList.remove("path");
  for (const each of [...things, ...wires]) each.classList.remove("first", "second", "on");
}

function mark(id, name) {
  for (const each of things) if (each.dataset.id === id) each.classList.add(name);
}

function choose(id, withFirst) {
  clear();
  open("details");
  if (first && first !== id && (withFirst || waits)) {
    waits = false;
    return choosePath(first, id);
  }
  first = id;
  waits = false;
  mark(id, "first");
  const thing = byId.get(id);
  details.replaceChildren(make("h2", titleOf(id)), tableOf(thing.details));
  if (namesOf(id).length) {
    const button = make("button", "Path to …");
    button.id = "path-to";
    button.type = "button";
    button.addEventListener("click", () => { waits = true; button.textContent = "Now click the other end"; });
    details.append(make("h3", ""), button, ...expectationsOf(id));
  }
}

function expectationsOf(id) {
  const found = [];
  for (const source of namesOf(id).slice(0, 1)) {
    const rows = [...(cells.get(source) || [])];
    if (!rows.length) continue;
    found.push(make("h3", "Verify expects, from " + source));
    const list = make("ul");
    for (const [target, cell] of rows) {
      const item = make("li");
      item.append(make("span", cell.symbol, "symbol"), make("span", " to " + target));
      item.append(listOf("ul", cell.reasons));
      list.append(item);
    }
    found.push(list);
  }
  return found;
}

function chooseWire(wire) {
  clear();
  open("details");
  first = null;
  const { from, to, bundle } = wire.dataset;
  const found = data.wires.find((each) => each.source === from && each.target === to && each.bundle === bundle);
  svg.classList.add("path");
  wire.classList.add("on");
  mark(from, "on");
  mark(to, "on");
  details.replaceChildren(make("h2", `${titleOf(from)} → ${titleOf(to)}`), tableOf([{ word: "kind", text: found.kind }, ...found.details]));
}

// --- the path between two things --------------------------------------------

function cablesOf(id) {
  return data.wires.filter((each) => each.kind === "cable" && each.source === id);
}

// The wires of the picture from one thing to the other: one subnet that both have, else an arrow between them or their subnets.
function wiresBetween(from, to) {
  const mine = cablesOf(from), theirs = cablesOf(to);
  for (const one of mine) for (const two of theirs) if (one.target === two.target) return [one, two];
  for (const one of mine) if (one.target === to) return [one];
  for (const two of theirs) if (two.target === from) return [two];
  const sources = new Set([from, ...mine.map((each) => each.target)]);
  const targets = new Set([to, ...theirs.map((each) => each.target)]);
  const arrows = data.wires.filter((each) => each.kind === "policy" && sources.has(each.source) && targets.has(each.target));
  if (arrows.length) {
    const ends = [...mine, ...theirs].filter((each) => arrows.some((arrow) => arrow.source === each.target || arrow.target === each.target));
    return [...arrows, ...ends];
  }
  const ports = data.wires.filter((each) => each.kind === "port" && each.target === to);
  return from === "outside" || from.startsWith("host:") ? ports : [];
}

function choosePath(from, to) {
  svg.classList.add("path");
  mark(from, "first");
  mark(to, "second");
  const drawn = wiresBetween(from, to);
  for (const id of [from, to, ...drawn.flatMap((each) => [each.source, each.target])]) mark(id, "on");
  // The hosts by which the packet goes: each hop begins with its place.
  const hops = namesOf(from).flatMap((source) => namesOf(to).flatMap((target) => explained.get(JSON.stringify([source, target]))?.hops || []));
  for (const host of data.hosts) if (hops.some((hop) => hop.startsWith(host.name + ": "))) mark(host.id, "on");
  for (const wire of wires) {
    const { from: source, to: target, bundle } = wire.dataset;
    if (drawn.some((each) => each.source === source && each.target === target && each.bundle === bundle)) wire.classList.add("on");
  }
  details.replaceChildren(make("h2", `${titleOf(from)} → ${titleOf(to)}`), ...wordsOf(from, to));
  if (namesOf(to).length && namesOf(from).length) {
    const button = make("button", "The other way");
    button.type = "button";
    button.addEventListener("click", () => { clear(); first = to; choosePath(to, from); });
    details.append(make("h3", ""), button);
  }
}

function wordsOf(from, to) {
  for (const source of namesOf(from)) {
    for (const target of namesOf(to)) {
      const hops = explained.get(JSON.stringify([source, target]));
      const cell = cells.get(source) && cells.get(source).get(target);
      if (!hops && !cell) continue;
      const parts = [];
      if (cell) {
        const words = { ok: "may connect", "-": "must not connect", "ok -": "some packets may pass, others must not" }[cell.symbol];
        const verdict = make("p");
        verdict.id = "verdict";
        verdict.append(make("span", cell.symbol, "symbol"), make("span", ` ${source} to ${target}: ${words}`));
        parts.push(verdict, listOf("ul", cell.reasons));
      }
      if (hops) parts.push(make("h3", hops.verdict), listOf("ol", hops.hops));
      else if (cell && cell.question) parts.push(make("p", `netctl explain ${bare(source)} ${cell.question} shows the path hop by hop.`, "hint"));
      return parts;
    }
  }
  return [make("p", "Verification sends no packet between these two. `netctl explain` shows the path of one.", "hint")];
}

for (const thing of things) {
  thing.addEventListener("click", (event) => { if (!moved) choose(thing.dataset.id, event.shiftKey); });
  thing.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(thing.dataset.id, event.shiftKey); });
}
for (const wire of wires) wire.addEventListener("click", () => { if (!moved) chooseWire(wire); });
window.addEventListener("keydown", (event) => { if (event.key === "Escape") { clear(); first = null; search.value = ""; find(); } });

// --- search -----------------------------------------------------------------

const search = document.getElementById("search");
const words = new Map([...byId].map(([id, each]) => [
  id, [id, each.title || "", ...(each.names || []), ...(each.lines || []), ...each.details.map((line) => line.text)].join("\n").toLowerCase(),
]));

function find() {
  const word = search.value.trim().toLowerCase();
  const hits = new Set();
  for (const thing of things) {
    const is = word !== "" && (words.get(thing.dataset.id) || "").includes(word);
    thing.classList.toggle("found", is);
    if (is) hits.add(thing.dataset.id);
  }
  svg.classList.toggle("search", word !== "");
  document.getElementById("found").textContent = word === "" ? "" : `${hits.size} found`;
  return hits;
}
search.addEventListener("input", find);
search.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  const hit = [...find()][0];
  if (!hit) return;
  const box = things.find((each) => each.dataset.id === hit).getBBox();
  const width = Math.max(box.width * 3, 500), height = width * whole.height / whole.width;
  show({ x: box.x + box.width / 2 - width / 2, y: box.y + box.height / 2 - height / 2, width, height });
  choose(hit, false);
});

// --- the matrix -------------------------------------------------------------

function drawMatrix() {
  const sources = [...cells.keys()], received = new Set(data.expectations.map((each) => each[1]));
  const targets = [...new Set([...sources, ...data.expectations.map((each) => each[1])])].filter((name) => received.has(name));
  const reason = make("div");
  reason.id = "reason";
  matrix.append(make("p", "What `netctl verify` expects. Rows send, columns receive: ok may pass, - must not pass.", "hint"));
  for (const note of data.notes) matrix.append(make("p", "note: " + note, "hint"));
  if (sources.length > MATRIX_MAX || targets.length > MATRIX_MAX) {
    matrix.append(make("p", `${sources.length} × ${targets.length} are too many for a table: click a container to see its row.`, "hint"));
    return;
  }
  const table = make("table"), head = make("thead"), body = make("tbody"), top = make("tr");
  top.append(make("td"), ...targets.map((target) => make("th", target)));
  head.append(top);
  for (const source of sources) {
    const row = make("tr");
    row.append(make("th", source));
    for (const target of targets) {
      const cell = cells.get(source).get(target);
      const box = make("td", cell ? cell.symbol : "", cell && cell.symbol === "-" ? "forbidden" : cell && cell.symbol === "ok -" ? "partly" : "");
      if (cell) {
        box.dataset.cell = source + " > " + target;
        box.tabIndex = 0;
        box.title = cell.reasons.join("\n");
        const explain = () => {
          for (const other of table.querySelectorAll(".open")) other.classList.remove("open");
          box.classList.add("open");
          reason.replaceChildren(make("h3", `${source} to ${target}`), listOf("ul", cell.reasons));
        };
        box.addEventListener("click", explain);
        box.addEventListener("focus", explain);
      }
      row.append(box);
    }
    body.append(row);
  }
  table.append(head, body);
  matrix.append(table, reason);
}
drawMatrix();
