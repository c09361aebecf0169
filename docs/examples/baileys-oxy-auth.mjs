// Keeps the auth state of a Baileys client in Oxy instead of a folder: see docs/baileys.md.
//
//   const { state, saveCreds } = await useOxyAuthState({ url, token, sessionId });
//   const socket = makeWASocket({ auth: state });
//   socket.ev.on('creds.update', saveCreds);
//
// A change counts as saved once Oxy has it: Baileys acknowledges a message only after that, so a process that is killed
// loses nothing. While Oxy cannot be reached, saving waits and tries again.
import { BufferJSON, initAuthCreds, proto } from 'baileys';

const CREDS = 'creds.json';
// One call carries at most so much: Oxy takes 8 MB.
const MOST_FILES = 2000;
const MOST_CHARACTERS = 1_500_000;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 30_000;

/** Oxy's answer where trying again cannot help: a wrong token, a name that it refuses, a state that it cannot decrypt. */
export class OxyError extends Error {
  constructor(status, { code = 'unknown', error = 'Oxy gave no reason.' } = {}) {
    super(`${error} (${status} ${code})`);
    this.name = 'OxyError';
    this.status = status;
    this.code = code;
  }
}

/**
 * @param {object} options
 * @param {string} options.url where Oxy is, e.g. https://oxy.example
 * @param {string} options.token an API token with the scope "vault"
 * @param {string} options.sessionId under which name the state is kept; one running client a name
 * @param {number} [options.timeoutMs] how long one call may take
 * @param {(trouble: {why: string, attempt: number, waitMs: number}) => void} [options.onRetry] a call failed and is repeated
 * @param {(error: Error) => void} [options.onError] the credentials could not be saved, for good
 * @returns `state` and `saveCreds`, as Baileys wants them; `flush()` resolves when all is saved; `remove()` deletes the state
 *   in Oxy, which is right after a logout.
 */
export async function useOxyAuthState({
  url, token, sessionId, timeoutMs = 30_000, onRetry = warn, onError = report,
}) {
  const vault = new Vault(new Oxy({ url, token, timeoutMs, onRetry }), sessionId);
  await vault.load();
  const creds = vault.read(CREDS) ?? initAuthCreds();
  vault.whatComesFirst = () => ({ [CREDS]: creds });
  return {
    state: {
      creds,
      keys: {
        get: async (type, ids) => Object.fromEntries(ids.map((id) => [id, readKey(vault, type, id)])),
        set: async (data) => vault.save(asFiles(data)),
      },
    },
    // An event handler has nobody to catch what it throws.
    saveCreds: () => vault.save({ [CREDS]: creds }).catch(onError),
    flush: () => vault.flush(),
    remove: () => vault.remove(),
  };
}

function readKey(vault, type, id) {
  const value = vault.read(fileName(type, id));
  return type === 'app-state-sync-key' && value ? proto.Message.AppStateSyncKeyData.fromObject(value) : value;
}

function asFiles(data) {
  const files = {};
  for (const [type, values] of Object.entries(data)) {
    for (const [id, value] of Object.entries(values)) files[fileName(type, id)] = value;
  }
  return files;
}

// The names that useMultiFileAuthState gives, so that a folder can be moved here and back.
const fileName = (type, id) => `${type}-${id}.json`.replace(/\//g, '__').replace(/:/g, '-');

/** All files of one state: held in memory, written through. */
class Vault {
  #oxy;
  #sessionId;
  #files = new Map();
  #changed = new Set();
  #isStored = false;
  #current = Promise.resolve();
  #next;
  whatComesFirst = () => ({});

  constructor(oxy, sessionId) {
    this.#oxy = oxy;
    this.#sessionId = sessionId;
  }

  async load() {
    const found = await this.#oxy.call('GET', `restore?session_id=${encodeURIComponent(this.#sessionId)}`);
    if (!found) return;
    if (typeof found.session_data?.[CREDS] !== 'string') {
      throw new OxyError(200, { code: 'no-creds', error: `What is stored under ${this.#sessionId} has no ${CREDS}.` });
    }
    this.#isStored = true;
    this.#files = new Map(Object.entries(found.session_data));
  }

  read(name) {
    const text = this.#files.get(name);
    return text === undefined ? undefined : JSON.parse(text, BufferJSON.reviver);
  }

  /** Resolves when Oxy has these values; null and undefined delete. */
  save(values) {
    this.#note(values);
    return this.flush();
  }

  /** Resolves when Oxy has everything. Whatever changes while a call is under way goes with the next one. */
  flush() {
    this.#next ??= this.#current.then(() => {
      this.#next = undefined;
      const sent = this.#send();
      this.#current = sent.catch(() => {});
      return sent;
    });
    return this.#next;
  }

  async remove() {
    await this.#current;
    this.#files.clear();
    this.#changed.clear();
    this.#isStored = false;
    await this.#oxy.call('DELETE', `delete?session_id=${encodeURIComponent(this.#sessionId)}`);
  }

  #note(values) {
    for (const [name, value] of Object.entries(values)) {
      const text = value === null || value === undefined ? undefined : JSON.stringify(value, BufferJSON.replacer);
      if (text === this.#files.get(name)) continue;
      this.#changed.add(name);
      if (text === undefined) this.#files.delete(name);
      else this.#files.set(name, text);
    }
  }

  async #send() {
    if (!this.#changed.size) return;
    if (!this.#isStored) this.#startOver();
    const names = this.#changed;
    this.#changed = new Set();
    try {
      for (const part of this.#parts(names)) await this.#sendPart(part);
    } catch (error) {
      for (const name of names) this.#changed.add(name);
      throw error;
    }
  }

  /** Nothing is stored yet, or somebody has deleted it: the whole state goes, and the credentials go first. */
  #startOver() {
    this.#note(this.whatComesFirst());
    this.#changed = new Set([CREDS, ...this.#changed, ...this.#files.keys()]);
  }

  async #sendPart(session_data) {
    const body = { session_data, session_id: this.#sessionId };
    if (!this.#isStored) {
      for (const [name, text] of Object.entries(session_data)) if (text === null) delete session_data[name];
      await this.#oxy.call('POST', 'backup', body);
      this.#isStored = true;
    } else if (!(await this.#oxy.call('PATCH', 'backup', body))) {
      this.#isStored = false;
      this.#startOver();
      await this.#send();
    }
  }

  *#parts(names) {
    let part = {};
    let files = 0;
    let characters = 0;
    for (const name of names) {
      const text = this.#files.get(name) ?? null;
      const more = name.length + (text?.length ?? 0);
      if (files && (files >= MOST_FILES || characters + more > MOST_CHARACTERS)) {
        yield part;
        part = {};
        files = characters = 0;
      }
      part[name] = text;
      files += 1;
      characters += more;
    }
    yield part;
  }
}

/** Calls of Oxy's vault, repeated until they have an answer that another try cannot change. */
class Oxy {
  #url;
  #headers;
  #timeoutMs;
  #onRetry;

  constructor({ url, token, timeoutMs, onRetry }) {
    this.#url = `${url.replace(/\/+$/, '')}/api/session/`;
    this.#headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' };
    this.#timeoutMs = timeoutMs;
    this.#onRetry = onRetry;
  }

  /** The answer; null where Oxy says that it has nothing under this name. Throws OxyError. */
  async call(method, path, body) {
    for (let attempt = 1; ; attempt += 1) {
      const { status, answer, retryAfter } = await this.#try(method, path, body);
      if (status >= 200 && status < 300 && answer) return answer;
      // Only Oxy's own word counts: any other 404 comes from a wrong address or a proxy, and would cost a new scan.
      if (status === 404 && answer?.code === 'backup-not-found') return null;
      const mayPass = status === 0 || status === 408 || status === 429 || (status >= 500 && answer?.code !== 'backup-unreadable');
      if (!mayPass) throw new OxyError(status, answer ?? { error: `${new URL(this.#url).origin} does not answer like Oxy.` });
      const backoff = Math.min(FIRST_WAIT_MS * 2 ** (attempt - 1), LONGEST_WAIT_MS);
      const waitMs = retryAfter ? retryAfter * 1000 : backoff * (0.75 + Math.random() / 2);
      this.#onRetry({ why: status ? `answer ${status}` : 'no answer', attempt, waitMs: Math.round(waitMs) });
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }

  async #try(method, path, body) {
    try {
      const response = await fetch(this.#url + path, {
        method,
        headers: this.#headers,
        body: body && JSON.stringify(body),
        signal: AbortSignal.timeout(this.#timeoutMs),
        redirect: 'error',
      });
      const text = await response.text();
      return { status: response.status, answer: asObject(text), retryAfter: Number(response.headers.get('Retry-After')) };
    } catch {
      return { status: 0 };
    }
  }
}

function asObject(text) {
  try {
    const value = JSON.parse(text);
    return value && typeof value === 'object' ? value : undefined;
  } catch {
    return undefined;
  }
}

function warn({ why, waitMs }) {
  console.warn(`Oxy: ${why}. Trying again in ${waitMs} ms.`);
}

function report(error) {
  console.error(`Oxy: the credentials could not be saved. ${error.message}`);
}
