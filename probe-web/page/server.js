// What the page asks of its server.

/** How long an answer may take. */
const ANSWER_MS = 15_000;

export class ServerError extends Error {
  /** @param {'offline'|'busy'|'refused'} reason */
  constructor(reason) {
    super(reason);
    this.reason = reason;
  }
}

/** Whose page this is, where its address says so. */
const tenant = new URLSearchParams(globalThis.location?.search).get('tenant');

export const session = () => ask(tenant ? `../api/v1/session?tenant=${encodeURIComponent(tenant)}` : '../api/v1/session', {});

/** Hands a run in; its report. */
export const send = (run) => ask('../api/v1/runs', {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify(run),
});

async function ask(path, options) {
  let response;
  let body;
  try {
    const signal = AbortSignal.timeout(ANSWER_MS);
    response = await fetch(new URL(path, import.meta.url), { ...options, signal, cache: 'no-store', credentials: 'omit' });
    body = await response.json();
  } catch {
    throw new ServerError('offline');
  }
  if (response.ok) return body;
  throw new ServerError(response.status === 429 || response.status === 503 ? 'busy' : 'refused');
}
