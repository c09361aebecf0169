// The other side of a recorded conversation: one JSON command a line on standard input, one JSON answer a line.
// Started by record.py with a library's name, in a directory where npm has installed that library. Bytes are base64;
// public keys in bundles are 32 bytes.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { randomInt } from 'node:crypto';
import { pathToFileURL } from 'node:url';

const require = createRequire(pathToFileURL(process.cwd() + '/'));
const ADDRESS = ['ours', 1];
const bytes = (text) => Buffer.from(text, 'base64');
const text = (data) => Buffer.from(data).toString('base64');
const typed = (bare) => Buffer.concat([Buffer.from([5]), bytes(bare)]);
const bare = (key) => text(Buffer.from(key).subarray(1));

// npm "libsignal": what Baileys encrypts with.
function libsignal() {
  const signal = require('libsignal');
  const identity = signal.keyhelper.generateIdentityKeyPair();
  const registrationId = signal.keyhelper.generateRegistrationId();
  const signedPreKey = signal.keyhelper.generateSignedPreKey(identity, 7);
  const preKeys = new Map([21, 22].map((id) => [id, signal.keyhelper.generatePreKey(id).keyPair]));
  let session;
  const storage = {
    loadSession: async () => session && signal.SessionRecord.deserialize(session),
    storeSession: async (_, record) => { session = record.serialize(); },
    isTrustedIdentity: async () => true,
    loadPreKey: async (id) => preKeys.get(id),
    removePreKey: async (id) => { preKeys.delete(id); },
    loadSignedPreKey: async (id) => (id === signedPreKey.keyId ? signedPreKey.keyPair : undefined),
    getOurRegistrationId: async () => registrationId,
    getOurIdentity: async () => identity,
  };
  const address = new signal.ProtocolAddress(...ADDRESS);
  const cipher = new signal.SessionCipher(storage, address);
  return {
    bundle: ({ prekey }) => ({
      registration_id: registrationId,
      identity: bare(identity.pubKey),
      signed_prekey_id: signedPreKey.keyId,
      signed_prekey: bare(signedPreKey.keyPair.pubKey),
      signed_prekey_signature: text(signedPreKey.signature),
      prekey_id: prekey,
      prekey: prekey && bare(preKeys.get(prekey).pubKey),
    }),
    start: async ({ bundle }) => {
      // The library skips this check for bundles.
      if (!signal.curve.verifySignature(typed(bundle.identity), typed(bundle.signed_prekey), bytes(bundle.signed_prekey_signature))) {
        throw new Error('bad signature');
      }
      await new signal.SessionBuilder(storage, address).initOutgoing({
        registrationId: bundle.registration_id,
        identityKey: typed(bundle.identity),
        signedPreKey: { keyId: bundle.signed_prekey_id, publicKey: typed(bundle.signed_prekey), signature: bytes(bundle.signed_prekey_signature) },
        preKey: bundle.prekey ? { keyId: bundle.prekey_id, publicKey: typed(bundle.prekey) } : undefined,
      });
    },
    encrypt: async ({ plaintext }) => {
      const { type, body } = await cipher.encrypt(bytes(plaintext));
      return { type: type === 3 ? 'pkmsg' : 'msg', ciphertext: text(body) };
    },
    decrypt: async ({ type, ciphertext }) => {
      const read = type === 'pkmsg' ? cipher.decryptPreKeyWhisperMessage(bytes(ciphertext)) : cipher.decryptWhisperMessage(bytes(ciphertext));
      return { plaintext: text(await read) };
    },
  };
}

// npm "@signalapp/libsignal-client": Signal's own, in Rust. 0.42 still begins sessions without post-quantum keys.
function libsignalClient() {
  const signal = require('@signalapp/libsignal-client');
  const identity = signal.PrivateKey.generate();
  const registrationId = randomInt(1, 16380);
  const signedPrivate = signal.PrivateKey.generate();
  const signature = identity.sign(signedPrivate.getPublicKey().serialize());
  const signedPreKey = signal.SignedPreKeyRecord.new(7, Date.now(), signedPrivate.getPublicKey(), signedPrivate, signature);
  const preKeys = new Map([21, 22].map((id) => [id, signal.PrivateKey.generate()]));
  let session = null;
  class Sessions extends signal.SessionStore {
    async saveSession(_, record) { session = record; }
    async getSession() { return session; }
  }
  class Identities extends signal.IdentityKeyStore {
    async getIdentityKey() { return identity; }
    async getLocalRegistrationId() { return registrationId; }
    async saveIdentity() { return false; }
    async isTrustedIdentity() { return true; }
    async getIdentity() { return null; }
  }
  class PreKeys extends signal.PreKeyStore {
    async getPreKey(id) { return signal.PreKeyRecord.new(id, preKeys.get(id).getPublicKey(), preKeys.get(id)); }
    async removePreKey(id) { preKeys.delete(id); }
  }
  class SignedPreKeys extends signal.SignedPreKeyStore {
    async getSignedPreKey() { return signedPreKey; }
  }
  class KyberPreKeys extends signal.KyberPreKeyStore {}
  const stores = [new Sessions(), new Identities()];
  const address = signal.ProtocolAddress.new(...ADDRESS);
  const key = (bareKey) => signal.PublicKey.deserialize(typed(bareKey));
  return {
    bundle: ({ prekey }) => ({
      registration_id: registrationId,
      identity: bare(identity.getPublicKey().serialize()),
      signed_prekey_id: 7,
      signed_prekey: bare(signedPrivate.getPublicKey().serialize()),
      signed_prekey_signature: text(signature),
      prekey_id: prekey,
      prekey: prekey && bare(preKeys.get(prekey).getPublicKey().serialize()),
    }),
    start: async ({ bundle }) => {
      const theirs = signal.PreKeyBundle.new(
        bundle.registration_id, 1, bundle.prekey_id, bundle.prekey ? key(bundle.prekey) : null,
        bundle.signed_prekey_id, key(bundle.signed_prekey), bytes(bundle.signed_prekey_signature), key(bundle.identity));
      await signal.processPreKeyBundle(theirs, address, ...stores);
    },
    encrypt: async ({ plaintext }) => {
      const message = await signal.signalEncrypt(bytes(plaintext), address, ...stores);
      const type = message.type() === signal.CiphertextMessageType.PreKey ? 'pkmsg' : 'msg';
      return { type, ciphertext: text(message.serialize()) };
    },
    decrypt: async ({ type, ciphertext }) => {
      const data = bytes(ciphertext);
      const read = type === 'pkmsg'
        ? signal.signalDecryptPreKey(signal.PreKeySignalMessage.deserialize(data), address, ...stores, new PreKeys(), new SignedPreKeys(), new KyberPreKeys())
        : signal.signalDecrypt(signal.SignalMessage.deserialize(data), address, ...stores);
      return { plaintext: text(await read) };
    },
  };
}

// npm "baileys": WhatsApp's sender keys.
async function baileys() {
  const group = await import(pathToFileURL(require.resolve('baileys/lib/Signal/Group/index.js')));
  const records = new Map();
  const store = {
    loadSenderKey: async (name) => records.get(name.toString()) ?? new group.SenderKeyRecord(),
    storeSenderKey: async (name, record) => { records.set(name.toString(), record); },
  };
  const name = (sender) => new group.SenderKeyName('group@g.us', { id: sender, deviceId: 0, toString: () => sender });
  const builder = new group.GroupSessionBuilder(store);
  return {
    distribution: async () => ({ distribution: text((await builder.create(name('theirs'))).serialize()) }),
    process: async ({ distribution }) => {
      const message = new group.SenderKeyDistributionMessage(null, null, null, null, bytes(distribution));
      await builder.process(name('ours'), message);
    },
    encrypt: async ({ plaintext }) => ({ ciphertext: text(await new group.GroupCipher(store, name('theirs')).encrypt(bytes(plaintext))) }),
    decrypt: async ({ ciphertext }) => ({ plaintext: text(await new group.GroupCipher(store, name('ours')).decrypt(bytes(ciphertext))) }),
  };
}

console.info = console.warn = console.log = console.error;
const peer = await { libsignal, 'libsignal-client': libsignalClient, baileys }[process.argv[2]]();
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let answer;
  try {
    answer = (await peer[command.do](command)) ?? {};
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(JSON.stringify(answer) + '\n');
}
