// A real Baileys client for the tests: one JSON command a line on standard input, one JSON event a line on standard output.
// BAILEYS_OPTIONS is JSON: {ws, root, folder} or {ws, root, oxy: {url, token, sessionId}}.
import { createInterface } from 'node:readline';
import makeWASocket, {
  DisconnectReason, Browsers, makeCacheableSignalKeyStore, useMultiFileAuthState, WA_CERT_DETAILS,
} from 'baileys';
import pino from 'pino';

const options = JSON.parse(process.env.BAILEYS_OPTIONS);
const logger = pino({ level: options.logLevel ?? 'silent' }, pino.destination(2));
const say = (event, more = {}) => process.stdout.write(JSON.stringify({ event, ...more }) + '\n');

// libsignal prints whole sessions, with their keys, on the console.
for (const name of ['log', 'info', 'warn', 'error']) console[name] = () => {};

// The simulator signs with a Noise root key of its own; the pin is an exported buffer.
Buffer.from(options.root, 'hex').copy(WA_CERT_DETAILS.PUBLIC_KEY);

const onRetry = (trouble) => say('retry', trouble);
const onError = ({ code }) => say('not-saved', { code });
const { state, saveCreds, flush } = options.oxy
  ? await (await import('./baileys-oxy-auth.mjs')).useOxyAuthState({ ...options.oxy, onRetry, onError })
  : await useMultiFileAuthState(options.folder);
say('state', { registered: Boolean(state.creds.me), me: state.creds.me?.id });

let socket;
let stopping = false;

function connect() {
  socket = makeWASocket({
    waWebSocketUrl: options.ws,
    auth: { creds: state.creds, keys: makeCacheableSignalKeyStore(state.keys, logger) },
    browser: Browsers.ubuntu('Chrome'),
    logger,
    // Else it holds messages back for 20 s, waiting for a history that the simulator does not send.
    shouldSyncHistoryMessage: () => false,
    getMessage: async () => undefined,
  });
  socket.ev.on('creds.update', saveCreds);
  socket.ev.on('connection.update', connectionChanged);
  socket.ev.on('messages.upsert', ({ messages, type }) => messages.forEach((message) => arrived(message, type)));
  socket.ev.on('messages.update', (updates) => updates.forEach(({ key, update }) => {
    if (update.status) say('status', { id: key.id, status: update.status });
  }));
}

function connectionChanged({ connection, lastDisconnect, qr, receivedPendingNotifications }) {
  if (qr) say('qr', { qr });
  if (connection === 'open') say('open', { jid: socket.user.id, lid: socket.user.lid });
  if (receivedPendingNotifications) say('caught-up');
  if (connection !== 'close') return;
  const code = lastDisconnect?.error?.output?.statusCode;
  say('close', { code });
  if (code === DisconnectReason.restartRequired) connect();
  else if (!stopping) process.exitCode = 1;
}

function arrived({ key, message, messageStubParameters }, type) {
  if (key.fromMe) return;
  const text = message?.conversation ?? message?.extendedTextMessage?.text;
  if (text !== undefined && text !== null) say('message', { id: key.id, from: key.remoteJid, text, type });
  else if (messageStubParameters?.length) say('undecryptable', { id: key.id, why: String(messageStubParameters[0]) });
}

const commands = {
  async send({ to, text }) {
    const sent = await socket.sendMessage(to, { text });
    say('sent', { id: sent.key.id, text });
  },
  async stop() {
    stopping = true;
    await socket.end(undefined);
    await saveCreds();
    await flush?.();
    say('stopped');
    process.exit(0);
  },
};

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const command = JSON.parse(line);
    commands[command.do](command).catch((error) => say('error', { command: command.do, why: String(error) }));
  })
  .on('close', () => process.exit(0));
connect();
