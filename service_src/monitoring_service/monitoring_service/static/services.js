// The list of services and the one line that sums it up.

import { duration, seconds } from "./format.js";

const STATE_TEXT = {
  up: "Up",
  degraded: "Degraded",
  down: "Down",
  not_deployed: "Not deployed",
  unknown: "Unknown",
};

export function showServices({ services }) {
  const list = document.getElementById("services");
  const template = document.getElementById("service-template");
  list.replaceChildren(...services.map((service) => card(template, service)));
  summarize(services);
}

function card(template, service) {
  const item = template.content.firstElementChild.cloneNode(true);
  item.dataset.state = service.state;
  item.dataset.name = service.name;
  item.querySelector(".name").textContent = service.name;
  item.querySelector(".state").textContent = STATE_TEXT[service.state];
  const reason = item.querySelector(".reason");
  reason.hidden = service.reason === null;
  reason.textContent = service.reason ?? "";
  const facts = item.querySelector(".facts");
  facts.textContent = factsOf(service).join(" · ");
  facts.hidden = facts.textContent === "";
  return item;
}

function factsOf({ version, uptime_seconds: uptime, latency_seconds: latency, instances }) {
  const facts = [];
  if (version !== null) facts.push(version);
  if (uptime !== null) facts.push(`up ${duration(uptime)}`);
  if (latency !== null) facts.push(`answers in ${seconds(latency)}`);
  if (instances && instances.total > 1) facts.push(`${instances.ready} of ${instances.total} instances ready`);
  return facts;
}

function summarize(services) {
  const inState = (...states) => services.filter(({ state }) => states.includes(state)).map(({ name }) => name);
  const down = inState("down");
  const impaired = inState("degraded", "unknown");
  if (down.length) show("down", down, "down");
  else if (impaired.length) show("degraded", impaired, "not well");
  else setSummary("up", inState("not_deployed").length ? "All deployed services are up" : "All services are up");
}

function show(state, names, what) {
  const subject = names.length > 2 ? `${names.length} services are` : `${names.join(" and ")} ${names.length > 1 ? "are" : "is"}`;
  setSummary(state, `${subject} ${what}`);
}

export function setSummary(state, text) {
  const summary = document.getElementById("summary");
  summary.dataset.state = state;
  if (summary.textContent !== text) summary.textContent = text; // a screen reader speaks each change
}
