// Requests of an operator, and what became of each in terms of what to do next.
//
// Outcomes: `done` (with the body), `refused` (a problem of the request; nothing changed),
// `unavailable` (nothing changed; later perhaps), `unknown` (it may have been done).

/** Longer than any edge or nginx takes to answer. */
const ANSWER_MAX_MS = 20_000;

/** Integers JavaScript cannot hold keep their digits as text, where the browser has them. */
function readJson(text) {
  return JSON.parse(text, (_key, value, context) =>
    Number.isInteger(value) && !Number.isSafeInteger(value) ? (context?.source ?? value) : value,
  );
}

/** What an answer means, from its status and its problem; pure. */
export function judgeAnswer(method, status, problem) {
  if (status >= 400 && status < 500) return 'refused';
  // Whatever a read may have done does not matter.
  if (method === 'GET' || problem?.code === 'UNAVAILABLE') return 'unavailable';
  return 'unknown';
}

export class Api {
  #session;

  constructor(session) {
    this.#session = session;
  }

  get isSignedIn() {
    return this.#session.isOpen;
  }

  read(path) {
    return this.#ask('GET', path);
  }

  post(path, body = undefined, key = undefined) {
    return this.#ask('POST', path, body, key);
  }

  patch(path, body) {
    return this.#ask('PATCH', path, body);
  }

  async #ask(method, path, body, key) {
    const outcome = await send(this.#session.authorization, method, path, body, key);
    const { status, problem } = outcome;
    if (status === 401) this.#session.end('refused');
    if (status === 404 && problem?.code === 'NOT_FOUND') this.#session.end('absent');
    return outcome;
  }
}

/** Whether a token is let in: the outcome of a small read. */
export function tryToken(token) {
  return send(`Bearer ${token}`, 'GET', '/orders?product_id=1&limit=1');
}

async function send(authorization, method, path, body, key) {
  // Nothing can have left this machine.
  if (!navigator.onLine) return { kind: 'unavailable', problem: { code: 'OFFLINE' } };
  const headers = { authorization };
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (key !== undefined) headers['idempotency-key'] = key;
  try {
    const response = await fetch(`/api/admin${path}`, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      signal: AbortSignal.timeout(ANSWER_MAX_MS),
    });
    const read = readJson(await response.text());
    if (response.ok) return { kind: 'done', status: response.status, body: read };
    return {
      kind: judgeAnswer(method, response.status, read),
      status: response.status,
      problem: read,
    };
  } catch {
    // No answer, or one that cannot be read: only a read has surely done nothing.
    const code = 'NO_ANSWER';
    return { kind: judgeAnswer(method, 0, null), status: 0, problem: { code } };
  }
}
