// Our own page: the element, told by the address. `/check?lang=de&for=1080p&screen&hand-off=https://app.example#gc_…`

const element = document.querySelector('greenroom-check');
const asked = new URLSearchParams(location.search);
for (const name of ['lang', 'for', 'screen', 'devices', 'send', 'renderer', 'gate', 'theme', 'hand-off']) {
  if (asked.has(name)) element.setAttribute(name, asked.get(name));
}
// What stands behind the # of a check link is sent to nobody but this server, by the element.
if (location.hash.startsWith('#gc_')) element.setAttribute('link', location.hash.slice(1));

const { choose, load } = await import('./language.js');
const language = choose([asked.get('lang'), ...(navigator.languages ?? [])]);
element.setAttribute('lang', language);
const { dir, title } = await load(language);
Object.assign(document.documentElement, { lang: language, dir });
document.title = `${title} · Greenroom`;
await import('./greenroom-check.js');
