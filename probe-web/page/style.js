// How the element looks. A sheet that is made by script needs no exception in the content security policy of the page around.

const CSS = `
:host {
  display: block;
  font: 1rem/1.5 system-ui, sans-serif;
  text-align: start;
  --text: var(--greenroom-text, light-dark(#1a1f27, #e8ebf0));
  --quiet: var(--greenroom-quiet, light-dark(#535c69, #a6b0bd));
  --card: var(--greenroom-card, light-dark(#ffffff, #1d2229));
  --line: var(--greenroom-line, light-dark(#d4d9e0, #3a424d));
  --accent: var(--greenroom-accent, light-dark(#1257b8, #7db4ff));
  --on-accent: var(--greenroom-on-accent, light-dark(#ffffff, #0d1117));
  --good: var(--greenroom-good, light-dark(#0f6b3a, #6fd79c));
  --fair: var(--greenroom-fair, light-dark(#8a5200, #f0bd63));
  --bad: var(--greenroom-bad, light-dark(#b3261e, #ff9a91));
  color: var(--text);
}
:host([hidden]) { display: none; }
:host([theme="light"]) { color-scheme: light; }
:host([theme="dark"]) { color-scheme: dark; }
:host([theme="auto"]) { color-scheme: light dark; }
* { box-sizing: border-box; }
:lang(ja) { word-break: auto-phrase; }
[hidden] { display: none !important; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0.5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 0 0 0.5rem; }
p { margin: 0 0 0.6rem; overflow-wrap: anywhere; }
p:empty { margin: 0; }
.card > :last-child { margin-bottom: 0; }
.quiet { color: var(--quiet); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 0.75rem; padding: 1rem; margin: 0 0 1rem; }
.verdict { border-inline-start: 0.4rem solid var(--line); }
.verdict h2 { font-size: 1.35rem; }
.verdict.ready { border-inline-start-color: var(--good); }
.verdict.degraded, .verdict.inconclusive { border-inline-start-color: var(--fair); }
.verdict.blocked, .verdict.permission_denied { border-inline-start-color: var(--bad); }
.spoken { position: absolute; width: 1px; height: 1px; margin: 0; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.state { font-weight: 600; }
.state.good { color: var(--good); }
.state.fair { color: var(--fair); }
.state.bad { color: var(--bad); }
video, canvas { display: block; width: 100%; max-height: 18rem; background: #000; border-radius: 0.5rem; object-fit: contain; margin: 0 0 0.6rem; }
video.mirror, canvas.mirror { transform: scaleX(-1); }
/* Not hidden: what is not shown at all gets fewer pictures. */
.drawn video { position: absolute; width: 1px; height: 1px; opacity: 0; }
meter { width: 100%; height: 1.25rem; }
label { display: block; font-weight: 600; margin: 0 0 0.6rem; }
select { display: block; width: 100%; min-width: 0; font: inherit; padding: 0.5rem; margin-top: 0.2rem; color: inherit; background: var(--card); border: 1px solid var(--quiet); border-radius: 0.5rem; }
button, a.button { display: inline-block; font: inherit; font-weight: 600; min-height: 2.75rem; padding: 0.5rem 1rem; margin: 0; text-align: center; max-width: 100%; overflow-wrap: anywhere; border-radius: 0.5rem; border: 1px solid var(--accent); background: transparent; color: var(--accent); cursor: pointer; text-decoration: none; }
button.main { background: var(--accent); color: var(--on-accent); }
button:disabled { opacity: 0.55; cursor: default; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.row { display: flex; flex-wrap: wrap; gap: 0.5rem; margin: 0 0 0.6rem; }
.bars { display: flex; align-items: end; gap: 0.2rem; height: 1.5rem; margin: 0 0 0.6rem; }
.bars i { width: 0.45rem; border-radius: 0.15rem; background: var(--line); }
.bars i:nth-child(1) { height: 25%; }
.bars i:nth-child(2) { height: 50%; }
.bars i:nth-child(3) { height: 75%; }
.bars i:nth-child(4) { height: 100%; }
.bars i.on { background: var(--accent); }
ul { margin: 0 0 0.8rem; padding-inline-start: 1.2rem; }
details { border: 1px solid var(--line); border-radius: 0.75rem; padding: 0.6rem 1rem; margin: 0 0 1rem; background: var(--card); }
summary { font-weight: 600; cursor: pointer; min-height: 1.75rem; }
details dl { margin-top: 0.6rem; }
.devices { margin: 0 0 1rem; display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr)); align-items: start; }
.devices .card { margin: 0; min-width: 0; }
dl { display: grid; grid-template-columns: fit-content(55%) minmax(min-content, 1fr); gap: 0.2rem 1rem; margin: 0 0 0.8rem; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: break-word; }
.code { unicode-bidi: isolate; white-space: nowrap; font-family: ui-monospace, monospace; font-size: 1.15rem; letter-spacing: 0.05em; }
@media (prefers-reduced-motion: no-preference) { button { transition: filter 0.15s; } button:hover:enabled { filter: brightness(1.12); } }
`;

/** The sheet, for a shadow root. */
export function sheet() {
  const made = new CSSStyleSheet();
  made.replaceSync(CSS);
  return made;
}
