const days = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** RFC 5322 4.3; every other name means UTC by the same paragraph. */
const zones: Readonly<Record<string, number>> = {
  EST: -300,
  EDT: -240,
  CST: -360,
  CDT: -300,
  MST: -420,
  MDT: -360,
  PST: -480,
  PDT: -420,
};

const dateTime =
  /^(?:[A-Za-z]{3,9}\.?,? )?(\d{1,2}) ([A-Za-z]{3})[a-z]{0,6} (\d{2,4}) (\d{1,2}):(\d{2})(?::(\d{2}))?(?: ([+-]\d{4}|[A-Za-z]{1,5}))?(?: |$)/;

/**
 * Milliseconds of a Date field's value (RFC 5322 3.3, obsolete forms of 4.3 too), or null if it is none. Without a
 * zone it is UTC. Comments are skipped.
 */
export function parseDate(value: string): number | null {
  const plain = value
    .slice(0, 200)
    .replace(/\([^()]*\)/g, ' ')
    .replace(/\s+/g, ' ')
    .replace(/ ?: ?/g, ':')
    .trim();
  const match = dateTime.exec(plain);
  if (!match) return null;
  const [day, hour, minute] = [Number(match[1]), Number(match[4]), Number(match[5])];
  const second = Number(match[6] ?? 0);
  const month = months.findIndex((name) => name.toLowerCase() === match[2]?.toLowerCase());
  const year = fullYear(match[3] ?? '');
  // A leap second is the last one of its minute here.
  const local = Date.UTC(year, month, day, hour, minute, Math.min(second, 59));
  const exists = month >= 0 && new Date(Date.UTC(year, month, day)).getUTCDate() === day;
  if (!exists || hour > 23 || minute > 59 || second > 60) return null;
  const offset = offsetOf(match[7] ?? '');
  return offset === null ? null : local - offset * 60_000;
}

/** RFC 5322 4.3: 00 to 49 is 20xx, 50 to 99 is 19xx, three digits count from 1900. */
function fullYear(digits: string): number {
  const year = Number(digits);
  if (digits.length === 2) return year + (year < 50 ? 2000 : 1900);
  return digits.length === 3 ? year + 1900 : year;
}

/** Minutes east of UTC; null for an offset that cannot be. */
function offsetOf(zone: string): number | null {
  const sign = zone.startsWith('-') ? -1 : 1;
  if (!/^[+-]/.test(zone)) return zones[zone.toUpperCase()] ?? 0;
  const minutes = Number(zone.slice(3));
  return minutes > 59 ? null : sign * (Number(zone.slice(1, 3)) * 60 + minutes);
}

/** The Date field's value for an instant in milliseconds, in UTC: `Tue, 01 Dec 2026 12:00:00 +0000` (RFC 5322 3.3). */
export function formatDate(milliseconds: number): string {
  const date = new Date(milliseconds);
  const two = (value: number) => String(value).padStart(2, '0');
  const day = `${days[date.getUTCDay()]}, ${two(date.getUTCDate())} ${months[date.getUTCMonth()]}`;
  const time = [date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()].map(two).join(':');
  return `${day} ${String(date.getUTCFullYear()).padStart(4, '0')} ${time} +0000`;
}
