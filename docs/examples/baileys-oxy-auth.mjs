// Keeps the auth state of a Baileys client in Oxy instead of a folder: see docs/baileys.md.
//
//   const { state, saveCreds } = await useOxyAuthState({ url, token, sessionId });
//   const socket = makeWASocket({ auth: state });
//   socket.ev.on('creds.update', saveCreds);
//
// A change counts as saved once Oxy has it: Baileys acknowledges a message only after that, so a process that is killed
// loses nothing. While Oxy cannot be reached, saving waits and tries again. Where another process has written to the same
// state, nothing more is saved: half of one state and half of another would lose messages in silence.
import { BufferJSON, initAuthCreds, proto } from 'baileys';

const CREDS = 'creds.json';
// One call carries at most so much: Oxy takes 8 MB.
const MOST_FILES = 2000;
const MOST_CHARACTERS = 1_500_000;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 30_000;

/**
 * Oxy's answer where trying again cannot help: a wrong token, a name that it refuses, a state that it cannot decrypt, and
 * `backup-changed`, which means that another process uses this state: end this one, and let it start afresh.
 */
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
 * @param {(error: Error) => void} [options.onError] something could not be saved, and trying again cannot help
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
  const save = async (values) => {
    try {
      await vault.save(values);
    } catch (error) {
      onError(error);
      throw error;
    }
  };
  return {
    state: {
      creds,
      keys: {
        get: async (type, ids) => Object.fromEntries(ids.map((id) => [id, readKey(vault, type, id)])),
        set: (data) => save(asFiles(data)),
      },
    },
    // An event handler has nobody to catch what it throws.
    saveCreds: () => save({ [CREDS]: creds }).catch(() => {}),
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
  // What Oxy has, and the tag of that version; no tag, nothing stored.
  #stored = new Map();
  #tag;
  #current = Promise.resolve();
  #next;
  whatComesFirst = () => ({});

  constructor(oxy, sessionId) {
    this.#oxy = oxy;
    this.#sessionId = sessionId;
  }

  async load() {
    if (!(await this.#fetch())) return;
    if (!this.#stored.has(CREDS)) {
      throw new OxyError(200, { code: 'no-creds', error: `What is stored under ${this.#sessionId} has no ${CREDS}.` });
    }
    this.#files = new Map(this.#stored);
  }

  /** Learn what Oxy has; false where that is nothing. */
  async #fetch() {
    const found = await this.#oxy.call('GET', `restore?session_id=${encodeURIComponent(this.#sessionId)}`);
    this.#stored = new Map(Object.entries(found?.answer.session_data ?? {}));
    this.#tag = found?.tag;
    return Boolean(found);
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
    this.#stored.clear();
    this.#tag = undefined;
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
    if (!this.#tag) this.#startOver();
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

  async #sendPart(part) {
    const after = new Map(this.#stored);
    for (const [name, text] of Object.entries(part)) {
      if (text === null) after.delete(name);
      else after.set(name, text);
    }
    const sent = await this.#store(part, after);
    if (!sent) {
      this.#startOver();
      await this.#send();
    } else {
      this.#stored = after;
      this.#tag = sent.tag;
    }
  }

  /** What Oxy answers, or null where it has nothing to change any more. */
  async #store(part, after) {
    const body = (session_data) => ({ session_data, session_id: this.#sessionId });
    if (!this.#tag) return this.#oxy.call('POST', 'backup', body(Object.fromEntries(after)));
    try {
      const sent = await this.#oxy.call('PATCH', 'backup', body(part), this.#tag);
      if (!sent) {
        this.#stored.clear();
        this.#tag = undefined;
      }
      return sent;
    } catch (error) {
      if (error.code !== 'backup-changed') throw error;
      // It may have been ourselves: the answer to the same call was lost, and the call was repeated.
      const before = this.#stored;
      if ((await this.#fetch()) && isSame(this.#stored, after)) return { tag: this.#tag };
      this.#stored = before;
      this.#tag = 'changed-by-another';
      throw error;
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

const isSame = (one, other) => one.size === other.size && [...one].every(([name, text]) => other.get(name) === text);

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

  /** The answer and its tag; null where Oxy says that it has nothing under this name. Throws OxyError. */
  async call(method, path, body, tag) {
    for (let attempt = 1; ; attempt += 1) {
      const { status, answer, retryAfter, newTag } = await this.#try(method, path, body, tag);
      if (status >= 200 && status < 300 && answer) return { answer, tag: newTag };
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

  async #try(method, path, body, tag) {
    try {
      const response = await fetch(this.#url + path, {
        method,
        headers: tag ? { ...this.#headers, 'If-Match': tag } : this.#headers,
        body: body && JSON.stringify(body),
        signal: AbortSignal.timeout(this.#timeoutMs),
        redirect: 'error',
      });
      const text = await response.text();
      const { headers, status } = response;
      return { status, answer: asObject(text), retryAfter: Number(headers.get('Retry-After')), newTag: headers.get('ETag') ?? undefined };
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
  console.error(`Oxy: the auth state could not be saved. ${error.message}`);
}
