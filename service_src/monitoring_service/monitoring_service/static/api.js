// Calls to monitoring-service. The prefix works behind the gateway, which strips it, and without one.

const PREFIX = "/api/monitoring/v1/";
const TIMEOUT_MS = 10_000;

async function get(path) {
  const response = await fetch(PREFIX + path, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return response.json();
}

export const getServices = () => get("services");
export const getOverview = () => get("overview");
export const getEndpoint = () => get("endpoint");

export function getSeries(names, minutes) {
  const query = new URLSearchParams(names.map((name) => ["name", name]));
  query.set("minutes", minutes);
  return get(`series?${query}`);
}
