/** No event for so long means that the stream is cut, in milliseconds. */
const SILENCE = 6000;
const LONGEST_WAIT = 15_000;

/** The headers of a request. Without a key, the service may let this page in by itself. */
function headersWith(key, others = {}) {
  return key === '' ? others : { ...others, Authorization: `Bearer ${key}` };
}

/** What the service said in words, for a person. */
async function reasonOf(response) {
  let words;
  try {
    const body = await response.json();
    words = [body.detail, body.error, body.message].find((text) => typeof text === 'string');
  } catch {}
  return words ?? `The service answered with ${response.status}.`;
}

/** Does an action. Returns its result, and throws an `Error` with the reason if it was not done. */
export async function act(key, name, body) {
  const response = await fetch(`actions/${name}`, {
    method: 'POST',
    headers: headersWith(key, { 'Content-Type': 'application/json' }),
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(await reasonOf(response));
  return response.json();
}

/**
 * Follows the service. `on.state` receives what is new, `on.cut` how many seconds it waits before it tries again, and
 * `on.refused` why the key was not accepted. It goes on until it is refused or closed.
 */
export class Connection {
  #key;
  #on;
  #abort = new AbortController();
  #watch;
  #failures = 0;
  #isClosed = false;
  /** Whether anything was received yet. */
  #hasBegun = false;

  constructor(key, on) {
    this.#key = key;
    this.#on = on;
    void this.#run();
  }

  close() {
    this.#isClosed = true;
    clearTimeout(this.#watch);
    this.#abort.abort();
  }

  async #run() {
    while (!this.#isClosed) {
      this.#abort = new AbortController();
      let ended = false;
      try {
        ended = await this.#follow();
      } catch {
        // The service cannot be reached, or was silent for too long.
      }
      clearTimeout(this.#watch);
      if (this.#isClosed) return;
      // The service ends each stream after a while, to see the key again.
      if (ended) continue;
      const wait = Math.min(LONGEST_WAIT, 1000 * 2 ** this.#failures++);
      this.#on.cut(Math.round(wait / 1000), this.#hasBegun);
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  /** Reads one stream. Returns true if the service has ended it in order. */
  async #follow() {
    this.#listen();
    const response = await fetch('events', {
      headers: headersWith(this.#key, { Accept: 'text/event-stream' }),
      cache: 'no-store',
      signal: this.#abort.signal,
    });
    if (!response.ok) {
      const reason = await reasonOf(response);
      if (response.status < 500 && response.status !== 429) {
        this.#isClosed = true;
        this.#on.refused(response.status, reason);
      }
      return false;
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let buffer = '';
    let hasEvent = false;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return hasEvent;
      buffer += value;
      for (let end = buffer.indexOf('\n\n'); end !== -1; end = buffer.indexOf('\n\n')) {
        const data = /^data: (.*)$/m.exec(buffer.slice(0, end))?.[1];
        buffer = buffer.slice(end + 2);
        if (data === undefined) continue;
        this.#listen();
        this.#failures = 0;
        hasEvent = true;
        this.#hasBegun = true;
        this.#on.state(JSON.parse(data));
      }
    }
  }

  #listen() {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#abort.abort(), SILENCE);
  }
}
