// What the reasons of a running call are called.

import { fill } from './language.js';

const LANGUAGES = ['en', 'de', 'es', 'ja', 'ar'];

/** What each reason is called in a language: `{ reasons: { loss_up: [say, fix], … }, well, unsure }`. */
export async function reasons(language = 'en') {
  const known = LANGUAGES.includes(language) ? language : 'en';
  return (await import(`./words/call-${known}.js`)).default;
}

/** A reason's sentence and advice. @param {object} words of `reasons()` @param {object} reason of an event */
export function say(words, { code, value = null, worst = value, unit = null }) {
  const shown = { percent: Math.round(worst * 1_000) / 10, ms: Math.round(worst), fps: Math.round(worst) };
  return (words.reasons[code] ?? [code, null]).map((text) => text && fill(text, worst === null ? {} : { ...shown, ms: unit === 'ms' ? shown.ms : undefined }));
}
