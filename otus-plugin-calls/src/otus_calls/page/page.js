"use strict";
// Everything that packets said is put into the page as text: textContent and setAttribute, never as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const calls = data.calls;
const byNumber = new Map(calls.map((c) => [String(c.n), c]));
const SVG = "http://www.w3.org/2000/svg";
const COLUMNS = [
  ["number", "#", (c) => c.n, 1], ["start", "start", (c) => c.at], ["parties", "from → to", (c) => c.parties],
  ["state", "state", (c) => c.state], ["code", "code", (c) => c.code ?? -1, 1], ["pdd", "pdd", (c) => c.pdd ?? -1, 1],
  ["setup", "setup", (c) => c.setup ?? -1, 1], ["talk", "talk", (c) => c.talk ?? -1, 1], ["media", "media", (c) => c.media],
  ["mos", "mos", (c) => c.mos ?? 9, 1], ["flags", "flags", (c) => c.flags.length ? c.flags[0][0] : "~"],
];
const view = { rows: calls, sort: "start", down: false, chosen: null };
const list = document.getElementById("list"), space = document.getElementById("space");
const search = document.getElementById("search"), states = document.getElementById("states");
const problems = document.getElementById("problems"), panel = document.getElementById("call");

function make(name, text, kind) {
  const element = document.createElement(name);
  if (text !== undefined && text !== null) element.textContent = text;
  if (kind) element.className = kind;
  return element;
}
function draw(parent, name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}
const dash = (value, digits) => value === null || value === undefined ? "–" : digits === undefined ? String(value) : value.toFixed(digits);
const two = (n) => String(n).padStart(2, "0");
const clock = (ms) => new Date(ms).toISOString().slice(11, 21);
const day = (ms) => new Date(ms).toISOString().slice(0, 10);
const minutes = (s) => s === null ? "–" : s >= 3600 ? `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(Math.floor(s) % 60)}` : `${Math.floor(s / 60)}:${two(Math.floor(s) % 60)}`;
const colour = (c) => data.good.includes(c.state) ? "good" : data.bad.includes(c.state) ? "bad" : "odd";

// --- the list: only the rows in sight are in the document -----------------------------------------------------
const phone = window.matchMedia("(max-width: 720px)");
const height = () => phone.matches ? 58 : 30;
const cells = {
  number: (c) => c.n, start: (c) => (data.days > 1 ? day(c.at).slice(5) + " " : "") + clock(c.at), parties: (c) => c.parties,
  state: (c) => c.state, code: (c) => dash(c.code), pdd: (c) => dash(c.pdd, 2), setup: (c) => dash(c.setup, 2),
  talk: (c) => minutes(c.talk), media: (c) => c.media, mos: (c) => dash(c.mos, 2), flags: (c) => c.flags.map((f) => f[0]).join(" "),
};
function row(c, index) {
  const element = make("div", null, "row" + (c === view.chosen ? " chosen" : ""));
  element.style.top = index * height() + "px";
  element.tabIndex = 0;
  element.dataset.n = c.n;
  element.setAttribute("role", "row");
  for (const [name, , , right] of COLUMNS) {
    const cell = make("span", cells[name](c), `c-${name}` + (right ? " number" : "") + (name === "state" ? " " + colour(c) : ""));
    cell.setAttribute("role", "cell");
    element.append(cell);
  }
  return element;
}
function show(all) {
  const high = height(), first = all ? 0 : Math.max(0, Math.floor(list.scrollTop / high) - 10);
  const last = all ? view.rows.length : Math.min(view.rows.length, first + Math.ceil(list.clientHeight / high) + 20);
  space.style.height = view.rows.length * high + "px";
  space.replaceChildren(...view.rows.slice(first, last).map((c, n) => row(c, first + n)));
  if (!view.rows.length) space.replaceChildren(make("p", "no call matches", "empty dim"));
}
function arrange() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const key = COLUMNS.find((one) => one[0] === view.sort)[2];
  view.rows = calls.filter((c) => (!states.value || c.state === states.value) && (!problems.checked || c.problem) &&
    words.every((word) => c.words.includes(word)));
  view.rows.sort((a, b) => { const x = key(a), y = key(b); return (x < y ? -1 : x > y ? 1 : a.n - b.n) * (view.down ? -1 : 1); });
  document.getElementById("count").textContent = `${view.rows.length.toLocaleString("en")} of ${calls.length.toLocaleString("en")}`;
  list.scrollTop = 0;
  const most = window.innerHeight * (phone.matches ? 0.7 : 0.55);
  list.style.height = Math.max(64, Math.min(most, view.rows.length * height() + 2)) + "px";
  show();
}
function heads() {
  const head = document.getElementById("head");
  for (const [name, title, , right] of COLUMNS) {
    const button = make("button", title, right ? "number" : "");
    button.type = "button";
    button.addEventListener("click", () => {
      view.down = view.sort === name ? !view.down : false;
      view.sort = name;
      for (const other of head.children) other.textContent = other.textContent.replace(/ [▲▼]$/, "");
      button.textContent = `${title} ${view.down ? "▼" : "▲"}`;
      arrange();
    });
    head.append(button);
  }
}

// --- one call ------------------------------------------------------------------------------------------------
function facts(c) {
  const box = make("dl");
  for (const [name, value] of c.facts) {
    const pair = make("div");
    pair.append(make("dt", name), make("dd", value));
    box.append(pair);
  }
  return box;
}
function ladder(c) {
  const scroll = make("div", null, "scroll"), svg = document.createElementNS(SVG, "svg");
  const apart = Math.max(190, Math.min(380, (panel.clientWidth - 230) / Math.max(1, c.hosts.length - 1)));
  const left = 200, wide = left + apart * Math.max(1, c.hosts.length - 1) + 110, x = (n) => left + n * apart;
  let y = 44, before = null;
  const lines = draw(svg, "g", {});
  for (const m of c.arrows) {
    const [at, src, dst, label, kind, below, again] = m, self = src === dst;
    const stroke = kind === "media" ? "var(--good)" : `var(--${kind || "fore"})`;
    draw(svg, "text", { x: 0, y: y + 4, class: "dim" }, clock(c.at + at / 1000).slice(0, 8) + "." + String(Math.floor((c.at + at / 1000) % 1000)).padStart(3, "0"));
    if (before !== null) draw(svg, "text", { x: 96, y: y + 4, class: "dim" }, `+${((at - before) / 1e6).toFixed(3)}`);
    before = at;
    const from = x(src), to = self ? x(src) + 40 : x(dst), way = to > from ? -1 : 1;
    draw(svg, "line", { x1: from, x2: to, y1: y + 4, y2: y + 4, stroke, "stroke-width": kind === "media" ? 3 : 1.5, "stroke-dasharray": again ? "5 4" : "none" });
    draw(svg, "path", { d: `M${to} ${y + 4} l${way * 8} -4 v8 z`, fill: stroke });
    const text = draw(svg, "text", { x: Math.min(from, to) + 12, y, fill: stroke }, label);
    text.style.fill = stroke;
    if (m[7]) {
      text.style.cursor = "pointer";
      text.style.textDecoration = "underline";
      text.addEventListener("click", () => raw(m[7]));
    }
    for (const note of below) { y += 15; draw(svg, "text", { x: Math.min(from, to) + 12, y: y + 4, class: "dim" }, note); }
    y += 28;
  }
  c.hosts.forEach((host, n) => {
    draw(svg, "text", { x: x(n), y: 14, "text-anchor": "middle", "font-weight": 600 }, host);
    draw(lines, "line", { x1: x(n), x2: x(n), y1: 22, y2: y, stroke: "var(--line)" });
  });
  svg.setAttribute("width", wide);
  svg.setAttribute("height", y + 6);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "messages of the call");
  scroll.append(svg);
  return scroll;
}
function raw(text) {
  const old = panel.querySelector("pre");
  if (old) old.remove();
  const box = make("pre", text);
  panel.append(box);
  box.scrollIntoView({ block: "nearest" });
}
function streams(c) {
  const scroll = make("div", null, "scroll"), table = make("table"), head = make("tr");
  for (const name of data.streamColumns) head.append(make("th", name));
  table.append(head);
  for (const stream of c.streams) {
    const line = make("tr");
    for (const value of stream) line.append(make("td", value));
    table.append(line);
  }
  scroll.append(table);
  return scroll;
}
function open(c) {
  view.chosen = c;
  panel.hidden = !c;
  show();
  if (!c) { history.replaceState(null, "", "#"); return; }
  const close = make("button", "Close", "close");
  close.type = "button";
  close.addEventListener("click", () => open(null));
  const flags = make("ul");
  for (const [flag, evidence] of c.flags) flags.append(make("li", `${flag}: ${evidence}`, "odd"));
  panel.replaceChildren(close, make("h2", `#${c.n}  ${c.parties}`), facts(c));
  if (c.flags.length) panel.append(flags);
  panel.append(ladder(c));
  if (c.streams.length) panel.append(streams(c));
  history.replaceState(null, "", `#call=${c.n}`);
  if (!phone.matches) panel.scrollIntoView({ block: "nearest" });
}

// --- charts --------------------------------------------------------------------------------------------------
function chart(title, series, most, unit) {
  const box = document.getElementById("charts"), figure = make("figure"), svg = document.createElementNS(SVG, "svg");
  const wide = 400, high = 120, step = (wide - 40) / data.buckets.length;
  svg.setAttribute("viewBox", `0 0 ${wide} ${high + 18}`);
  svg.setAttribute("width", "100%");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", title);
  const y = (value) => high - (value / most) * (high - 12);
  for (const value of [0, most / 2, most]) {
    draw(svg, "line", { x1: 36, x2: wide, y1: y(value), y2: y(value), stroke: "var(--line)" });
    draw(svg, "text", { x: 32, y: y(value) + 4, "text-anchor": "end", class: "dim" }, String(+value.toFixed(most < 10 ? 1 : 0)));
  }
  for (const [name, values, paint, bars] of series) {
    values.forEach((value, n) => {
      if (value === null) return;
      const at = 38 + n * step, about = `${data.buckets[n]}: ${name} ${+value.toFixed(2)} ${unit}`;
      const mark = bars ? draw(svg, "rect", { x: at, y: y(value), width: Math.max(1, step - 1), height: Math.max(0, high - y(value)), fill: paint })
        : draw(svg, "circle", { cx: at + step / 2, cy: y(value), r: 3, fill: paint });
      draw(mark, "title", {}, about);
    });
  }
  draw(svg, "text", { x: 36, y: high + 15, class: "dim" }, data.buckets[0]);
  draw(svg, "text", { x: wide, y: high + 15, "text-anchor": "end", class: "dim" }, data.buckets[data.buckets.length - 1]);
  const names = make("figcaption", title + "  ");
  for (const [name, , paint] of series) { const key = make("span", ` ● ${name}`); key.style.color = paint; names.append(key); }
  figure.append(names, svg);
  box.append(figure);
}

// --- begin ---------------------------------------------------------------------------------------------------
document.getElementById("title").textContent = data.title;
document.getElementById("about").textContent = data.about;
for (const [name, value] of data.figures) {
  const item = make("li", name, "dim");
  item.prepend(make("b", value));
  document.getElementById("figures").append(item);
}
for (const name of [...new Set(calls.map((c) => c.state))].sort()) {
  const option = make("option", name);
  option.value = name;
  states.append(option);
}
for (const c of calls) c.words = [c.parties, c.state, c.code, c.id, c.agents, c.media, ...c.hosts, ...c.flags.map((f) => f[0])].join(" ").toLowerCase();
for (const one of data.charts) chart(...one);
document.getElementById("over-time").hidden = !data.charts.length;
document.getElementById("over-time").open = !phone.matches;
heads();
search.addEventListener("input", arrange);
states.addEventListener("change", arrange);
problems.addEventListener("change", arrange);
let waiting = false;
list.addEventListener("scroll", () => { if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; show(); }); } }, { passive: true });
const chosen = (event) => { const element = event.target.closest(".row"); return element && byNumber.get(element.dataset.n); };
space.addEventListener("click", (event) => { const c = chosen(event); if (c) open(c); });
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && view.chosen) open(null);
  if (event.key === "Enter" && chosen(event)) open(chosen(event));
  if ((event.key === "ArrowDown" || event.key === "ArrowUp") && chosen(event)) {
    const other = event.key === "ArrowDown" ? event.target.nextElementSibling : event.target.previousElementSibling;
    if (other) { event.preventDefault(); other.focus(); }
  }
});
window.addEventListener("resize", arrange);
window.addEventListener("beforeprint", () => show(true));
window.addEventListener("afterprint", () => show());
arrange();
const asked = byNumber.get((location.hash.match(/^#call=(\d+)$/) || [])[1]);
if (asked || calls.length === 1) open(asked || calls[0]);
document.documentElement.dataset.ready = "yes";
