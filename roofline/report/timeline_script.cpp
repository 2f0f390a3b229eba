#include "roofline/report/timeline.h"

namespace roofline {
namespace {

constexpr std::string_view kScript = R"js(
'use strict';
const COLOURS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9',
                 '#d55e00', '#b5a50f', '#7a7a7a'];
const RULER = 24, ROW = 20, AREA = 110, GAP = 22;
const parsed = JSON.parse(document.getElementById('trace').textContent);
const events = Array.isArray(parsed) ? parsed : parsed.traceEvents || [];
const canvas = document.getElementById('view');
const tip = document.getElementById('tip');
const draw2d = canvas.getContext('2d');

// ---- Reading the trace --------------------------------------------------
const lanes = new Map(), counters = new Map(), names = new Map();
const laneNames = new Map(), categories = [];
let first = Infinity, last = -Infinity, spanCount = 0;

function duration(us) {
  const size = Math.abs(us);
  if (size >= 1e6) return (us / 1e6).toFixed(3) + ' s';
  if (size >= 1e3) return (us / 1e3).toFixed(size >= 1e5 ? 1 : 2) + ' ms';
  return us.toFixed(size >= 100 || us === 0 ? 0 : 1) + ' µs';
}
function amount(name, value) {
  if (!/byte|memory/i.test(name)) {
    return String(Number(value.toPrecision(4)));
  }
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let i = 0;
  while (Math.abs(value) >= 1024 && i < 4) { value /= 1024; ++i; }
  return value.toFixed(i > 0 ? 2 : 0) + ' ' + units[i];
}
function colour(category) {
  let i = categories.indexOf(category);
  if (i < 0) i = categories.push(category) - 1;
  return COLOURS[i % COLOURS.length];
}
function see(time) {
  first = Math.min(first, time);
  last = Math.max(last, time);
}
function laneOf(event) {
  const key = (event.pid || 0) + ':' + (event.tid || 0);
  if (!lanes.has(key)) lanes.set(key, {key, spans: [], rows: []});
  return lanes.get(key);
}
function addCounter(event) {
  if (!counters.has(event.name)) {
    counters.set(event.name, {name: event.name, keys: [], samples: []});
  }
  const counter = counters.get(event.name);
  const values = event.args || {};
  for (const key of Object.keys(values)) {
    if (!counter.keys.includes(key)) counter.keys.push(key);
  }
  counter.samples.push({ts: event.ts, values});
  see(event.ts);
}
for (const event of events) {
  if (event.ph === 'X' && isFinite(event.ts)) {
    const end = event.ts + (event.dur || 0);
    laneOf(event).spans.push({ts: event.ts, end, event, inner: 0});
    see(event.ts);
    see(end);
    ++spanCount;
  } else if (event.ph === 'C' && isFinite(event.ts)) {
    addCounter(event);
  } else if (event.ph === 'M' && event.name === 'thread_name') {
    laneNames.set((event.pid || 0) + ':' + (event.tid || 0), event.args.name);
  }
}
// A span lies one row below the span that it runs in.
function nest(lane) {
  lane.spans.sort((a, b) => a.ts - b.ts || b.end - a.end);
  const open = [];
  for (const span of lane.spans) {
    while (open.length && open[open.length - 1].end <= span.ts) open.pop();
    if (open.length) open[open.length - 1].inner += span.end - span.ts;
    (lane.rows[open.length] = lane.rows[open.length] || []).push(span);
    open.push(span);
  }
}
function addName(span) {
  const name = span.event.name, time = span.end - span.ts;
  if (!names.has(name)) {
    names.set(name, {name, category: span.event.cat || '', calls: 0, total: 0,
                     self: 0, longest: 0});
  }
  const row = names.get(name);
  row.calls += 1;
  row.total += time;
  row.self += Math.max(0, time - span.inner);
  row.longest = Math.max(row.longest, time);
}
for (const lane of lanes.values()) {
  nest(lane);
  lane.spans.forEach(addName);
}
for (const counter of counters.values()) {
  counter.samples.sort((a, b) => a.ts - b.ts);
  counter.most = 0;
  for (const sample of counter.samples) {
    let sum = 0;
    for (const key of counter.keys) sum += Number(sample.values[key]) || 0;
    sample.sum = sum;
    counter.most = Math.max(counter.most, sum);
  }
}
if (!(last > first)) { first = isFinite(first) ? first : 0; last = first + 1; }

// ---- The picture --------------------------------------------------------
let from = first, to = last, marked = null, hits = [];
let width = 0, height = 0;

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name);
}
function at(time) { return (time - from) / (to - from) * width; }
function timeAt(x) { return from + x / width * (to - from); }
function put(text, x, y, style) {
  draw2d.fillStyle = style;
  draw2d.fillText(text, x, y);
}
function drawRuler() {
  const raw = (to - from) / Math.max(2, width / 130);
  const power = Math.pow(10, Math.floor(Math.log10(raw)));
  const step = [1, 2, 5, 10].map(f => f * power).find(s => s >= raw);
  const start = Math.ceil((from - first) / step) * step;
  for (let t = start; t <= to - first; t += step) {
    const x = at(first + t);
    draw2d.fillStyle = css('--line');
    draw2d.fillRect(x, 0, 1, height);
    put(duration(t), x + 4, 16, css('--dim'));
  }
}
// Index of the last element that starts at or before the time; 0 if none.
function lastBefore(list, time) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle].ts <= time) low = middle + 1; else high = middle;
  }
  return Math.max(0, low - 1);
}
function drawCounter(counter, top) {
  const bottom = top + AREA, most = counter.most || 1;
  put(counter.name + ', highest ' + amount(counter.name, counter.most), 6,
      top - 7, css('--ink'));
  const begin = lastBefore(counter.samples, from);
  const base = new Map();
  counter.keys.forEach((key, k) => {
    draw2d.fillStyle = COLOURS[k % COLOURS.length];
    for (let i = begin; i < counter.samples.length; ++i) {
      const sample = counter.samples[i], next = counter.samples[i + 1];
      if (sample.ts > to) break;
      const value = Number(sample.values[key]) || 0;
      const below = base.get(i) || 0, x = Math.max(0, at(sample.ts));
      const right = Math.min(width, next ? at(next.ts) : at(last));
      const high = value / most * AREA;
      draw2d.fillRect(x, bottom - below / most * AREA - high,
                      Math.max(right - x, 0.5), high);
      base.set(i, below + value);
    }
  });
  draw2d.fillStyle = css('--line');
  draw2d.fillRect(0, bottom, width, 1);
  hits.push({top, bottom, counter});
  return bottom + GAP + 6;
}
function drawSpan(span, x, right, top) {
  const size = Math.max(right - x, 1);
  draw2d.globalAlpha = marked && marked !== span.event.name ? 0.2 : 1;
  draw2d.fillStyle = colour(span.event.cat || span.event.name);
  draw2d.fillRect(x, top, size > 3 ? size - 0.6 : size, ROW - 2);
  if (size > 34) {
    draw2d.save();
    draw2d.beginPath();
    draw2d.rect(x, top, size - 3, ROW);
    draw2d.clip();
    put(span.event.name, x + 4, top + 13, '#fff');
    draw2d.restore();
  }
  draw2d.globalAlpha = 1;
}
function drawLane(lane, top) {
  put(laneNames.get(lane.key) || 'thread ' + lane.key.split(':')[1], 6,
      top - 7, css('--ink'));
  for (const row of lane.rows) {
    let covered = -1;
    for (let i = lastBefore(row, from); i < row.length; ++i) {
      if (row[i].ts > to) break;
      const x = Math.max(0, at(row[i].ts)), right = at(row[i].end);
      // What ends within a pixel that is already drawn can't be seen.
      if (right < 0 || right < covered) continue;
      drawSpan(row[i], x, Math.min(width, right), top);
      covered = Math.max(right, x + 1);
    }
    hits.push({top, bottom: top + ROW, row});
    top += ROW;
  }
  return top + GAP;
}
function totalHeight() {
  let sum = RULER + GAP + counters.size * (AREA + GAP + 6);
  for (const lane of lanes.values()) sum += lane.rows.length * ROW + GAP;
  return sum;
}
function draw() {
  const ratio = window.devicePixelRatio || 1;
  width = canvas.clientWidth;
  height = totalHeight();
  canvas.style.height = height + 'px';
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  draw2d.setTransform(ratio, 0, 0, ratio, 0, 0);
  draw2d.clearRect(0, 0, width, height);
  draw2d.font = '12px system-ui,sans-serif';
  hits = [];
  drawRuler();
  let top = RULER + GAP;
  for (const counter of counters.values()) top = drawCounter(counter, top);
  for (const lane of lanes.values()) top = drawLane(lane, top);
}
let waiting = false;
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); });
}
)js"
                                     R"js(
// ---- Zooming, moving, asking --------------------------------------------
function show(a, b) {
  const all = last - first;
  const span = Math.min(Math.max(b - a, Math.min(0.5, all)), all);
  from = Math.min(Math.max(a, first), last - span);
  to = from + span;
  redraw();
}
function zoom(factor, x) {
  const time = timeAt(x);
  show(time - (time - from) * factor, time + (to - time) * factor);
}
function move(share) {
  const by = share * (to - from);
  show(from + by, to + by);
}
function spanTip(row, time) {
  const slack = (to - from) / width;
  for (let i = lastBefore(row, time + slack); i >= 0 && i < row.length; --i) {
    const span = row[i];
    if (span.end + slack < time) return '';
    let text = span.event.name + '\n' + duration(span.end - span.ts) +
        ' from ' + duration(span.ts - first);
    if (span.event.cat) text += '\ncategory: ' + span.event.cat;
    for (const [key, value] of Object.entries(span.event.args || {})) {
      text += '\n' + key + ': ' +
          (typeof value === 'object' ? JSON.stringify(value) : value);
    }
    return text;
  }
  return '';
}
function counterTip(counter, time) {
  const sample = counter.samples[lastBefore(counter.samples, time)];
  if (!sample || sample.ts > time) return '';
  let text = counter.name + ' at ' + duration(time - first);
  for (const key of [...counter.keys].reverse()) {
    const value = Number(sample.values[key]) || 0;
    text += '\n' + key + ': ' + amount(counter.name, value);
  }
  return text + '\nsum: ' + amount(counter.name, sample.sum);
}
function showTip(event) {
  const box = canvas.getBoundingClientRect();
  const y = event.clientY - box.top, time = timeAt(event.clientX - box.left);
  const hit = hits.find(h => y >= h.top && y < h.bottom);
  const text = !hit ? ''
      : hit.row ? spanTip(hit.row, time) : counterTip(hit.counter, time);
  tip.style.display = text ? 'block' : 'none';
  tip.textContent = text;
  const left = Math.min(event.clientX + 14,
                        window.innerWidth - tip.offsetWidth - 8);
  tip.style.left = Math.max(0, left) + 'px';
  tip.style.top = Math.min(event.clientY + 14,
                           window.innerHeight - tip.offsetHeight - 8) + 'px';
}
let dragged = null;
canvas.addEventListener('wheel', event => {
  event.preventDefault();
  if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    move(event.deltaX / width);
  } else {
    zoom(Math.exp(event.deltaY * 0.0015), event.offsetX);
  }
}, {passive: false});
canvas.addEventListener('pointerdown', event => {
  dragged = event.clientX;
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener('pointermove', event => {
  if (dragged !== null) {
    move((dragged - event.clientX) / width);
    dragged = event.clientX;
  }
  showTip(event);
});
canvas.addEventListener('pointerup', () => { dragged = null; });
canvas.addEventListener('pointercancel', () => { dragged = null; });
canvas.addEventListener('pointerleave', () => { tip.style.display = 'none'; });
canvas.addEventListener('dblclick', () => show(first, last));
window.addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  if (key === 'w') zoom(0.7, width / 2);
  if (key === 's') zoom(1 / 0.7, width / 2);
  if (key === 'a') move(-0.2);
  if (key === 'd') move(0.2);
});
window.addEventListener('resize', redraw);
matchMedia('(prefers-color-scheme:dark)').addEventListener('change', redraw);

// ---- The table by name --------------------------------------------------
function fillTable() {
  const body = document.querySelector('#names tbody');
  const rows = [...names.values()].sort((a, b) => b.self - a.self);
  const all = rows.reduce((sum, row) => sum + row.self, 0) || 1;
  for (const row of rows) {
    const line = body.insertRow();
    const cells = [row.name, row.category, row.calls, duration(row.total),
                   duration(row.self), duration(row.total / row.calls),
                   duration(row.longest),
                   (100 * row.self / all).toFixed(1) + ' %'];
    cells.forEach((text, i) => {
      const cell = line.insertCell();
      cell.textContent = text;
      if (i > 1) cell.className = 'right';
    });
    const dot = document.createElement('i');
    dot.style.background = colour(row.category || row.name);
    line.cells[0].prepend(dot);
    line.addEventListener('click', () => {
      marked = marked === row.name ? null : row.name;
      for (const other of body.rows) other.className = '';
      line.className = marked ? 'on' : '';
      redraw();
    });
  }
}
let facts = duration(last - first) + ', ' + spanCount + ' spans of ' +
    names.size + ' names';
for (const counter of counters.values()) {
  facts += '; ' + counter.name + ': highest ' +
      amount(counter.name, counter.most);
}
document.getElementById('facts').textContent = facts;
fillTable();
draw();
)js";

}  // namespace

std::string_view timeline_script() {
  return kScript;
}

}  // namespace roofline
