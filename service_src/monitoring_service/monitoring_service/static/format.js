// Numbers as people read them. A missing number is a dash, never a zero.

export const DASH = "–";

const known = (value) => value !== null && value !== undefined;

export function number(value) {
  if (!known(value)) return DASH;
  const digits = Math.abs(value) >= 100 || Number.isInteger(value) ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}

export function seconds(value) {
  if (!known(value)) return DASH;
  if (value === 0) return "0 s";
  if (value < 0.001) return "< 1 ms";
  return value < 1 ? `${Math.round(value * 1000)} ms` : `${number(value)} s`;
}

export function percent(value) {
  if (!known(value)) return DASH;
  const share = value * 100;
  return `${share > 0 && share < 1 ? "< 1" : Math.round(share)} %`;
}

export function gibibytes(value) {
  return known(value) ? `${(value / 2 ** 30).toLocaleString("en", { maximumFractionDigits: 1 })} GiB` : DASH;
}

export function duration(value) {
  for (const [unit, name] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (value >= unit) return `${Math.floor(value / unit)} ${name}`;
  }
  return `${Math.floor(value)} s`;
}

export function clock(unixSeconds, withSeconds = false) {
  const parts = { hour: "2-digit", minute: "2-digit", ...(withSeconds && { second: "2-digit" }), hourCycle: "h23" };
  return new Date(unixSeconds * 1000).toLocaleTimeString("en", parts);
}

const BY_UNIT = { s: seconds, ratio: percent };
export const inUnit = (unit) => BY_UNIT[unit] ?? number;
