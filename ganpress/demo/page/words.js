// Numbers as people read them.

export function round(value, digits) {
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function bytes(count) {
  if (count < 1e6) return `${round(count / 1e3, count < 1e5 ? 1 : 0)} kB`;
  return `${round(count / 1e6, count < 1e8 ? 1 : 0)} MB`;
}

export function milliseconds(value) {
  return `${round(value, value < 1 ? 2 : value < 100 ? 1 : 0)} ms`;
}

export function ratio(value) {
  return `${round(value, value < 10 ? 1 : 0)}×`;
}

export function macs(count) {
  return count < 1e9 ? `${round(count / 1e6, count < 1e7 ? 2 : 1)} M` : `${round(count / 1e9, 2)} G`;
}
