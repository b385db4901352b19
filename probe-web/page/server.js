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

  /**
   * Hands a run in (`runs`), which makes its report; asks what would come of it as far as it is (`runs/look`, once for a run, nothing is
   * kept); hands in a report (`reports`).
   */
  post(what, body, headers) {
    return this.#ask(`api/v1/${what}`, this.#post(body, headers));
  }

  /** Hands in what there is of a run while the page goes away. Nobody hears the answer. */
  leave(run) {
    let options = this.#post(run);
    // The samples of the packets are most of it, and of half a run they say little.
    if (options.body.length > LEAVING_OCTETS) options = this.#post({ ...run, network: { state: 'not_tested', reason: 'left' } });
    fetch(new URL('api/v1/runs', this.base), { ...options, keepalive: true, credentials: 'omit' }).catch(() => {});
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

  #post(body, headers) {
    return { method: 'POST', headers: { 'Content-Type': 'application/json', ...this.headers, ...headers }, body: JSON.stringify(body) };
  }

  async #ask(path, options) {
    let response;
    let body;
    try {
      const sent = await packed(options);
      const signal = AbortSignal.timeout(ANSWER_MS);
      response = await fetch(new URL(path, this.base), { ...sent, signal, cache: 'no-store', credentials: 'omit' });
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

/** What is sent, in half as many octets where the browser can: narrow ways up take their time. */
async function packed(options) {
  if (!options.body || !globalThis.CompressionStream) return options;
  const body = await new Response(new Response(options.body).body.pipeThrough(new CompressionStream('gzip'))).blob();
  return { ...options, body, headers: { ...options.headers, 'Content-Encoding': 'gzip' } };
}
