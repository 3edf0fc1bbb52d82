// Keeps the page current: every five seconds while it is visible.

import { getEndpoint, getOverview, getSeries, getServices } from "./api.js";
import { buildCharts, chartNames, setEmpty, showSeries } from "./charts.js";
import { enableCopying, showEndpoint } from "./endpoint.js";
import { clock } from "./format.js";
import { showNumbers } from "./numbers.js";
import { setSummary, showServices } from "./services.js";

const INTERVAL_MS = 5000;

let timer = null;
let round = 0;
let lastSeen = null;

const minutes = () => document.querySelector("input[name=minutes]:checked").value;

// Starts a round at once; a round that was still under way shows nothing any more.
function refresh() {
  clearTimeout(timer);
  if (document.hidden) return;
  round += 1;
  run(round).finally(() => {
    clearTimeout(timer);
    timer = setTimeout(refresh, INTERVAL_MS);
  });
}

async function run(mine) {
  try {
    const [services, overview, endpoint] = await Promise.all([getServices(), getOverview(), getEndpoint()]);
    const { prometheus } = overview;
    const series = prometheus.reachable ? await getSeries(chartNames, minutes()) : null;
    if (mine !== round) return;
    showServices(services);
    showNumbers(overview);
    showEndpoint(endpoint);
    if (series) showSeries(series);
    else setEmpty("Prometheus is unreachable");
    lastSeen = services.checked_at;
    document.getElementById("updated").textContent = `Updated ${clock(lastSeen, true)}`;
    document.body.classList.remove("stale");
    notice(prometheus.reachable ? "" : `Prometheus is unreachable, so there are no numbers. States are what the services say themselves. ${prometheus.reason}`);
  } catch (error) {
    if (mine !== round) return;
    document.body.classList.add("stale");
    setSummary("unknown", "Out of date");
    notice(`monitoring-service does not answer (${error.message}). ${lastSeen ? `What you see is of ${clock(lastSeen, true)}.` : ""}`);
  }
}

function notice(text) {
  const element = document.getElementById("notice");
  element.hidden = text === "";
  if (element.textContent !== text) element.textContent = text;
}

buildCharts();
enableCopying();
document.querySelectorAll("input[name=minutes]").forEach((input) => input.addEventListener("change", refresh));
document.addEventListener("visibilitychange", refresh);
refresh();
