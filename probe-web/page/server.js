// What the page asks of its server.

/** How long an answer may take. */
const ANSWER_MS = 15_000;
/** What a browser sends of a page that is going away, all requests together, less some room. */
const LEAVING_OCTETS = 60_000;

export class CheckError extends Error {
  /** @param {'offline'|'busy'|'refused'|'foreign'|'link'|'stopped'} reason */
  constructor(reason) {
    super(`the check came to no result: ${reason}`);
    this.name = 'CheckError';
    this.reason = reason;
  }
}

/** Where the server is: the one that these scripts came from, unless another one is named. */
export class Server {
  /** @param {string} [endpoint] @param {string} [link] the token of a check link */
  constructor(endpoint, link) {
    this.base = new URL(endpoint ? `${endpoint.replace(/\/+$/, '')}/` : '..', endpoint ? document.baseURI : import.meta.url);
    /** Whose page this is, where its address says so. */
    this.tenant = endpoint ? null : new URLSearchParams(globalThis.location?.search).get('tenant');
    this.headers = link ? { Authorization: `Bearer ${link}` } : {};
  }

  session() {
    return this.#ask(this.tenant ? `api/v1/session?tenant=${encodeURIComponent(this.tenant)}` : 'api/v1/session', {});
  }

  /** Hands a run in; its report. */
  send(run) {
    return this.#ask('api/v1/runs', this.#post(run));
  }

  /** What would come of a run as far as it is; nothing is kept. Once for a run. */
  look(run) {
    return this.#ask('api/v1/runs/look', this.#post(run));
  }

  /** Hands in what there is of a run while the page goes away. Nobody hears the answer. */
  leave(run) {
    let options = this.#post(run);
    // The samples of the packets are most of it, and of half a run they say little.
    if (options.body.length > LEAVING_OCTETS) options = this.#post({ ...run, network: { state: 'not_tested', reason: 'left' } });
    try {
      fetch(new URL('api/v1/runs', this.base), { ...options, keepalive: true, credentials: 'omit' }).catch(() => {});
    } catch {
      // A browser without keepalive sends nothing.
    }
  }

  /** Hands in the finished report of a call: by the check link, or by a session of its own, which lets one in. */
  async keep(report) {
    const headers = this.headers.Authorization ? {} : { Authorization: `Bearer ${(await this.session()).run}` };
    return this.#ask('api/v1/reports', this.#post(report, headers));
  }

  /** Where an offer of a WebRTC connection for media goes. */
  get webRtc() {
    return new URL('check/rtc', this.base).href;
  }

  /** Where a WebSocket for media begins. */
  get webSocket() {
    const url = new URL('check/media', this.base);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    return url.href;
  }

  #post(run, headers = {}) {
    return { method: 'POST', headers: { 'Content-Type': 'application/json', ...this.headers, ...headers }, body: JSON.stringify(run) };
  }

  async #ask(path, options) {
    let response;
    let body;
    try {
      const signal = AbortSignal.timeout(ANSWER_MS);
      response = await fetch(new URL(path, this.base), { ...options, signal, cache: 'no-store', credentials: 'omit' });
      body = await response.json();
    } catch {
      throw new CheckError('offline');
    }
    if (response.ok) return body;
    const kind = String(body?.type ?? '').split(':').pop();
    const reasons = { 'foreign-site': 'foreign', 'used-up': 'link' };
    if (response.status === 401 && this.headers.Authorization) throw new CheckError('link');
    throw new CheckError(reasons[kind] ?? (response.status === 429 || response.status === 503 ? 'busy' : 'refused'));
  }
}
