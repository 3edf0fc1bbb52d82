// The charts: one figure per name, drawn by Chart.js, with a legend that tells the newest values.

import { clock, inUnit } from "./format.js";

const CHARTS = [
  { name: "tokens_per_second", title: "Tokens per second", empty: "Appears with the first completion", colors: ["1", "2"] },
  { name: "ttft", title: "Time to first token", empty: "Appears with the first completion", colors: ["1", "2"] },
  { name: "queue", title: "Requests in the model", empty: "Appears when model-service runs", colors: ["1", "2", "3"], dashed: "slots" },
  { name: "cache_hit_rate", title: "Response cache hit rate", empty: "Appears with the first cacheable request", colors: ["good"] },
  { name: "requests", title: "Requests per second at the gateway", empty: "Appears with the first request", colors: ["good", "warn", "bad"] },
  { name: "host", title: "Host", empty: "Appears when node-exporter runs", colors: ["1", "2", "3"] },
];
const TICK_MINUTES = [[5, 1], [15, 3], [60, 15], [360, 60], [1440, 240]];
const MIN_WIDTH_SECONDS = 180;

export const chartNames = CHARTS.map(({ name }) => name);

const figures = new Map();

export function buildCharts() {
  const template = document.getElementById("chart-template");
  for (const spec of CHARTS) {
    const figure = template.content.firstElementChild.cloneNode(true);
    figure.id = `chart-${spec.name}`;
    figure.querySelector("h3").textContent = spec.title;
    document.getElementById("charts").append(figure);
    figures.set(spec.name, { spec, figure, chart: new Chart(figure.querySelector("canvas"), configuration()) });
  }
  setEmpty("Loading…");
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolor);
}

export function showSeries({ start, end, charts }) {
  const from = Math.max(start, Math.min(firstTime(charts), end - MIN_WIDTH_SECONDS));
  for (const data of charts) {
    const { spec, figure, chart } = figures.get(data.name);
    const format = inUnit(data.unit);
    const lines = data.lines.filter(({ points }) => points.some(({ value }) => value !== null));
    chart.data.datasets = data.lines.map((line, index) => dataset(spec, line, index));
    Object.assign(chart.options.scales.x, { min: from, max: end });
    Object.assign(chart.options.scales.y, {
      max: data.unit === "ratio" ? 1 : undefined,
      suggestedMax: data.unit === "s" ? 0.1 : 1, // an axis for a line of zeros
    });
    chart.options.scales.y.ticks.callback = (value) => format(value);
    chart.options.plugins.tooltip.callbacks.label = ({ dataset: { label }, parsed: { y } }) => ` ${label}: ${format(y)}`;
    paint(chart);
    chart.update("none");
    showLegend(figure, spec, lines, data.lines, format);
    figure.classList.toggle("blank", lines.length === 0);
    figure.querySelector(".empty").textContent = lines.length ? "" : `No data yet. ${spec.empty}.`;
  }
}

// A young platform's charts begin with its data, not with a long emptiness.
function firstTime(charts) {
  const points = charts.flatMap(({ lines }) => lines.flatMap((line) => line.points));
  return points.reduce((first, { time, value }) => (value === null ? first : Math.min(first, time)), Infinity);
}

// Empties all charts, saying why in their place.
export function setEmpty(reason) {
  for (const { figure, chart } of figures.values()) {
    chart.data.datasets = [];
    chart.update("none");
    figure.classList.add("blank");
    figure.querySelector(".legend").replaceChildren();
    figure.querySelector(".empty").textContent = reason;
    figure.querySelector("canvas").setAttribute("aria-label", `${figure.querySelector("h3").textContent}: ${reason}`);
  }
}

function dataset(spec, line, index) {
  const dashed = line.label === spec.dashed;
  return {
    label: line.label,
    colorName: spec.colors[index],
    data: line.points.map(({ time, value }) => ({ x: time, y: value })),
    borderWidth: dashed ? 1.5 : 2,
    borderDash: dashed ? [5, 4] : [],
    fill: index === 0 ? "origin" : false,
    pointRadius: 0,
    pointHoverRadius: 4,
    tension: 0.25,
    cubicInterpolationMode: "monotone",
  };
}

function showLegend(figure, spec, lines, all, format) {
  const items = lines.map((line) => {
    const item = document.createElement("li");
    const key = document.createElement("i");
    key.style.borderTopColor = `var(--series-${spec.colors[all.indexOf(line)]})`;
    key.classList.toggle("dashed", line.label === spec.dashed);
    const value = document.createElement("b");
    value.textContent = format(newest(line));
    item.append(key, `${line.label} `, value);
    return item;
  });
  figure.querySelector(".legend").replaceChildren(...items);
  const spoken = lines.map((line) => `${line.label} ${format(newest(line))}`).join(", ");
  figure.querySelector("canvas").setAttribute("aria-label", `${spec.title}: ${spoken || "no data yet"}`);
}

// The value of now; the very last point may not be recorded yet.
function newest({ points }) {
  const [before, last] = points.slice(-2).map(({ value }) => value);
  return last ?? before;
}

function configuration() {
  return {
    type: "line",
    data: { datasets: [] },
    options: {
      animation: false,
      maintainAspectRatio: false,
      normalized: true,
      interaction: { mode: "index", intersect: false, axis: "x" },
      plugins: {
        legend: { display: false },
        tooltip: { boxPadding: 4, callbacks: { title: ([{ parsed }]) => clock(parsed.x, true) } },
      },
      scales: {
        x: { type: "linear", grid: { display: false }, ticks: { maxRotation: 0, callback: (value) => clock(value) }, afterBuildTicks: timeTicks },
        y: { beginAtZero: true, grace: "8%", grid: { drawBorder: false }, ticks: { maxTicksLimit: 5 } },
      },
    },
  };
}

// Ticks at full minutes or hours of the reader's clock.
function timeTicks(axis) {
  const minutes = (axis.max - axis.min) / 60;
  const step = 60 * (TICK_MINUTES.find(([length]) => minutes <= length * 1.01)?.[1] ?? 1440);
  const offset = new Date().getTimezoneOffset() * 60;
  const first = Math.ceil((axis.min - offset) / step) * step + offset;
  axis.ticks = [];
  for (let value = first; value <= axis.max; value += step) axis.ticks.push({ value });
}

function recolor() {
  for (const { chart } of figures.values()) {
    paint(chart);
    chart.update("none");
  }
}

// A canvas does not see CSS variables: their values are read anew for each drawing.
function paint(chart) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  for (const set of chart.data.datasets) {
    set.borderColor = color(`series-${set.colorName}`);
    set.backgroundColor = `${set.borderColor}1f`;
    set.pointHoverBackgroundColor = set.borderColor;
  }
  const { x, y } = chart.options.scales;
  x.ticks.color = y.ticks.color = color("muted");
  x.grid.borderColor = y.grid.color = y.grid.borderColor = color("line");
  x.ticks.font = y.ticks.font = { family: getComputedStyle(document.body).fontFamily, size: 12 };
  Object.assign(chart.options.plugins.tooltip, {
    backgroundColor: color("surface"),
    borderColor: color("line"),
    borderWidth: 1,
    titleColor: color("muted"),
    bodyColor: color("text"),
  });
}
