// The tiles: the numbers of now.

import { DASH, gibibytes, number, percent, seconds } from "./format.js";

export function showNumbers({ prometheus, model, cache, gateway, host }) {
  const none = prometheus.reachable ? "No data yet" : "Prometheus is unreachable";
  const idle = model.slots === null ? none : "No requests in the last minutes";

  tile("tokens", number(model.tokens_per_second), model.tokens_per_second === null ? none
    : model.stream_tokens_per_second === null ? "All requests together"
    : `${number(model.stream_tokens_per_second)} per request`);
  tile("ttft", seconds(model.ttft_p50_seconds), model.ttft_p50_seconds === null ? idle
    : `Median; 95 % within ${seconds(model.ttft_p95_seconds)}`);
  tile("queue", number(model.requests_running), model.requests_running === null ? none
    : `${number(model.requests_waiting)} waiting`,
    model.slots === null ? "" : ` of ${number(model.slots)} slots`);
  tile("hits", percent(cache.hit_ratio), cache.hit_ratio === null ? idle : "Of the cacheable requests, last 5 minutes");
  tile("requests", number(gateway.requests_per_second), gateway.requests_per_second === null ? none
    : gateway.error_ratio === null ? "At the gateway, without this page's own"
    : `${percent(gateway.error_ratio)} failed`);

  // A busy processor is what inference looks like; full memory or a full disk is trouble.
  meter("cpu", host.cpu_ratio, host.cpu_cores && ` of ${host.cpu_cores} cores`);
  meter("memory", host.memory_ratio, host.memory_bytes && ` of ${gibibytes(host.memory_bytes)}`);
  meter("disk", host.disk_ratio);
  for (const id of ["memory", "disk"]) warn(id);
}

function tile(id, value, detail, suffix = "") {
  const element = document.getElementById(id);
  element.textContent = value;
  if (suffix && value !== DASH) {
    const small = document.createElement("small");
    small.textContent = suffix;
    element.append(small);
  }
  document.getElementById(`${id}-detail`).textContent = detail;
}

function meter(id, ratio, suffix) {
  const element = document.getElementById(id);
  const value = Math.round((ratio ?? 0) * 100);
  element.firstElementChild.style.width = `${value}%`;
  element.setAttribute("aria-valuenow", value);
  element.setAttribute("aria-valuetext", ratio === null ? "no data" : `${value} %`);
  document.getElementById(`${id}-text`).textContent = percent(ratio) + (ratio === null ? "" : suffix || "");
}

function warn(id) {
  const element = document.getElementById(id);
  const value = Number(element.getAttribute("aria-valuenow"));
  element.dataset.state = value >= 95 ? "down" : value >= 85 ? "degraded" : "up";
}
