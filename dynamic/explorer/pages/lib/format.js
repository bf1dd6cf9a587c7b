// Texts for numbers, times and names. null and undefined mean unknown, and become an en dash.

const none = '–';
const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);

// significant returns a number with three significant digits and without an exponent.
function significant(value) {
  const size = Math.abs(value);
  return value.toFixed(size >= 99.95 || size === 0 ? 0 : size >= 9.995 ? 1 : 2).replace(/\.0+$/, '');
}

// scaled uses the largest unit in which the value is at least 1.
function scaled(value, step, units) {
  let i = 0;
  while (Math.abs(value) >= step * 0.9995 && i < units.length - 1) {
    value /= step;
    i++;
  }
  return significant(value) + units[i];
}

/** duration formats seconds: "85 µs", "1.25 ms", "3 s", "2 min 5 s", "3 h 20 min", "15 d". */
export function duration(seconds) {
  if (!known(seconds)) return none;
  const size = Math.abs(seconds), sign = seconds < 0 ? '−' : '';
  if (size === 0) return '0';
  if (size < 60) {
    return sign + (size < 1 ? scaled(size * 1e9, 1000, ['\u00a0ns', '\u00a0µs', '\u00a0ms', '\u00a0s']) : `${significant(size)}\u00a0s`);
  }
  for (const [unit, length, smaller, part] of [['d', 86400, 'h', 3600], ['h', 3600, 'min', 60], ['min', 60, 's', 1]]) {
    if (size < length) continue;
    // From ten units on, the smaller unit is not shown.
    const rest = size < 10 * length ? Math.floor(size % length / part) : 0;
    return `${sign}${Math.floor(size / length)}\u00a0${unit}${rest ? ` ${rest}\u00a0${smaller}` : ''}`;
  }
}

/** count shortens large numbers: "999", "12.3 k", "4 M". */
export const count = (value) => known(value) ? scaled(value, 1000, ['', '\u00a0k', '\u00a0M', '\u00a0G', '\u00a0T']) : none;

/** whole formats a number with all digits and thin spaces between thousands. */
export const whole = (value) => known(value) ? String(value).replace(/\B(?=(\d{3})+$)/g, '\u202f') : none;

/** rate formats a number per second. */
export const rate = (value) => known(value) ? `${count(value)}/s` : none;

/** percent formats a fraction: "0.42 %", "1.2 %", "35 %". */
export function percent(fraction) {
  if (!known(fraction)) return none;
  const value = fraction * 100;
  if (value > 0 && value < 0.01) return '<0.01\u00a0%';
  return `${value.toFixed(value === 0 || value >= 9.95 ? 0 : value >= 0.995 ? 1 : 2)}\u00a0%`;
}

/** bytes formats a size in powers of 1024. */
export const bytes = (value) => known(value) ? scaled(value, 1024, ['\u00a0B', '\u00a0KiB', '\u00a0MiB', '\u00a0GiB', '\u00a0TiB']) : none;

/** date returns a Date, or null if the text is empty or Go's zero time. */
export function date(text) {
  const value = text ? new Date(text) : null;
  return value && value.getTime() > 0 ? value : null;
}

/** age returns the time since a moment: "12 s", "3 h 20 min". */
export function age(text, now = Date.now()) {
  const at = date(text);
  return at ? duration(Math.max(1, Math.round((now - at) / 1000))) : none;
}

/** time returns the time of day with milliseconds. full returns the date and time with the zone. */
export function time(text) {
  const at = date(text);
  return at ? at.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3 }) : none;
}
export function full(text) {
  const at = date(text);
  return at ? at.toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'long' }) : none;
}

/** plural returns "1 server" or "2 servers". */
export const plural = (number, word, words = `${word}s`) => `${whole(number)} ${number === 1 ? word : words}`;

/** nameParts splits "pkg.Service" into the package, with its dot, and the simple name. */
export function nameParts(name) {
  const at = name.lastIndexOf('.') + 1;
  return [name.slice(0, at), name.slice(at)];
}

/** words turns "not_serving" and "notServing" into "not serving". */
export const words = (name) => String(name ?? '').replace(/_/g, ' ').replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase();
