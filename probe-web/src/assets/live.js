// Reports as they come: says how many are new, and shows them in place. Without it a page is what it was when it was loaded.
const page = document.documentElement;
const said = document.querySelector('#live');
const shows = said.dataset.shows;
const AT_ONCE_MS = 5000;
let fresh = 0;
let timer = 0;

const events = new EventSource('/api/v1/events');
events.addEventListener('report', () => heard(1));
events.addEventListener('missed', (event) => heard(Number(event.data)));
events.addEventListener('open', () => page.classList.add('live'));
// A browser comes again by itself, unless it was sent away: then the session has ended.
events.addEventListener('error', () => page.classList.remove('live'));
document.addEventListener('visibilitychange', () => fresh && heard(0));

function heard(n) {
  fresh += n;
  if (shows === 'at once' && !isInUse()) {
    timer ||= setTimeout(show, AT_ONCE_MS);
  } else {
    tell();
  }
}

// What somebody reads or holds is not pulled away from under them.
function isInUse() {
  const main = document.querySelector('main');
  return main.contains(document.activeElement) || main.contains(getSelection().anchorNode) || document.hidden;
}

function tell() {
  const button = document.createElement('button');
  button.textContent = fresh === 1 ? '1 new report: look again' : `${fresh} new reports: look again`;
  button.addEventListener('click', show);
  said.replaceChildren(button);
}

async function show() {
  timer = 0;
  const answer = await fetch(location.href).catch(() => null);
  if (!answer?.ok || answer.redirected) return;
  const next = new DOMParser().parseFromString(await answer.text(), 'text/html').querySelector('main');
  const main = document.querySelector('main');
  const open = [...main.querySelectorAll('details')].map((one) => one.open);
  next.querySelectorAll('details').forEach((one, i) => { one.open = open[i] ?? one.open; });
  main.replaceWith(next);
  fresh = 0;
  said.replaceChildren();
}
