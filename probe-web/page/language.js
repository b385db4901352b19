// Languages: a file each, of which one is loaded.

const KNOWN = ['en', 'de', 'es', 'ja', 'ar'];

/** The first language that is spoken here of those that are wanted. */
export function choose(wanted) {
  const found = wanted.filter(Boolean).map((tag) => tag.toLowerCase().split('-')[0]).find((tag) => KNOWN.includes(tag));
  return found ?? 'en';
}

/** The words of a language; English where its file does not come. */
export async function load(language) {
  const { default: words } = await import(`./words/${language}.js`).catch(() => import('./words/en.js'));
  return words;
}

/** Puts values in the places of a text. Unknown places stay as they are. */
export const fill = (text, values = {}) => (text ?? '').replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);

/** @param {string} language @param {number} value @param {number} digits */
export const number = (language, value, digits = 0) => value.toLocaleString(language === 'ar' ? 'ar-u-nu-latn' : language, { maximumFractionDigits: digits });

/** The browser's family, which decides where a permission is given. */
export function browser() {
  if (navigator.userAgentData || /chrome|crios|edg/i.test(navigator.userAgent)) return 'chromium';
  if (/firefox|fxios/i.test(navigator.userAgent)) return 'firefox';
  return /safari/i.test(navigator.userAgent) ? 'safari' : 'other';
}

/** A cause in the person's language, by its code; `null` where there are no words for it. */
export function translated(cause, words, language) {
  const found = words.causes[cause.code];
  if (!found) return null;
  const values = Object.fromEntries(Object.entries(cause.params ?? {}).map(([name, value]) => [name, shown(value, words, language)]));
  const [say, fix] = found.map((text) => (text ? fill(text, values) : null));
  return { say, fix };
}

function shown(value, words, language) {
  if (typeof value === 'number') return number(language, value, Math.abs(value) < 10 ? 1 : 0);
  return words.kinds[value] ?? String(value);
}
