// peer.go is peer.mjs for go.mau.fi/libsignal, the library inside whatsmeow and so inside neonize: the same commands,
// the same answers, with pairwise messages and sender keys in one. Sessions are kept as bytes, as whatsmeow keeps them.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/libsignal/groups"
	"go.mau.fi/libsignal/keys/identity"
	"go.mau.fi/libsignal/keys/prekey"
	"go.mau.fi/libsignal/protocol"
	"go.mau.fi/libsignal/serialize"
	"go.mau.fi/libsignal/session"
	"go.mau.fi/libsignal/state/record"
	"go.mau.fi/libsignal/tests"
	"go.mau.fi/libsignal/util/bytehelper"
	"go.mau.fi/libsignal/util/keyhelper"
	"go.mau.fi/libsignal/util/optional"
)

type bundle struct {
	RegistrationID uint32  `json:"registration_id"`
	Identity       []byte  `json:"identity"`
	SignedID       uint32  `json:"signed_prekey_id"`
	Signed         []byte  `json:"signed_prekey"`
	Signature      []byte  `json:"signed_prekey_signature"`
	PreKeyID       *uint32 `json:"prekey_id"`
	PreKey         []byte  `json:"prekey"`
}

type command struct {
	Do           string
	PreKey       *uint32
	Bundle       bundle
	Type         string
	Plaintext    []byte
	Ciphertext   []byte
	Distribution []byte
}

type answer map[string]any

var (
	background = context.Background()
	codec      = serialize.NewProtoBufSerializer()
	address    = protocol.NewSignalAddress("ours", 1)
	ourGroup   = protocol.NewSenderKeyName("group@g.us", protocol.NewSignalAddress("theirs", 1))
	theirGroup = protocol.NewSenderKeyName("group@g.us", address)
)

type sessions struct{ stored []byte }

func (s *sessions) LoadSession(context.Context, *protocol.SignalAddress) (*record.Session, error) {
	if s.stored == nil {
		return record.NewSession(codec.Session, codec.State), nil
	}
	return record.NewSessionFromBytes(s.stored, codec.Session, codec.State)
}
func (s *sessions) StoreSession(_ context.Context, _ *protocol.SignalAddress, session *record.Session) error {
	s.stored = session.Serialize()
	return nil
}
func (s *sessions) ContainsSession(context.Context, *protocol.SignalAddress) (bool, error) {
	return s.stored != nil, nil
}
func (s *sessions) GetSubDeviceSessions(context.Context, string) ([]uint32, error) { return nil, nil }
func (s *sessions) DeleteSession(context.Context, *protocol.SignalAddress) error   { return nil }
func (s *sessions) DeleteAllSessions(context.Context) error                        { return nil }

type peer struct {
	identity     *identity.KeyPair
	registration uint32
	preKeys      map[uint32]*record.PreKey
	signed       *record.SignedPreKey
	builder      *session.Builder
	cipher       *session.Cipher
	senderKeys   *tests.InMemorySenderKey
	groups       *groups.SessionBuilder
}

func newPeer() *peer {
	p := &peer{registration: keyhelper.GenerateRegistrationID() & 0x3fff, preKeys: map[uint32]*record.PreKey{}}
	p.identity = must(keyhelper.GenerateIdentityKeyPair())
	p.signed = must(keyhelper.GenerateSignedPreKey(p.identity, 7, codec.SignedPreKeyRecord))
	signedStore, preKeyStore := tests.NewInMemorySignedPreKey(), tests.NewInMemoryPreKey()
	signedStore.StoreSignedPreKey(background, 7, p.signed)
	for _, id := range []uint32{21, 22} {
		p.preKeys[id] = record.NewPreKey(id, must(ecc.GenerateKeyPair()), codec.PreKeyRecord)
		preKeyStore.StorePreKey(background, id, p.preKeys[id])
	}
	identities := tests.NewInMemoryIdentityKey(p.identity, p.registration)
	p.builder = session.NewBuilder(&sessions{}, preKeyStore, signedStore, identities, address, codec)
	p.cipher = session.NewCipher(p.builder, address)
	p.senderKeys = tests.NewInMemorySenderKey()
	p.groups = groups.NewGroupSessionBuilder(p.senderKeys, codec)
	return p
}

func bare(key ecc.ECPublicKeyable) []byte {
	public := key.PublicKey()
	return public[:]
}

func key(bare []byte) ecc.ECPublicKeyable { return ecc.NewDjbECPublicKey(bytehelper.SliceToArray(bare)) }

func (p *peer) bundle(id *uint32) answer {
	signature := p.signed.Signature()
	found := answer{
		"registration_id": p.registration, "identity": bare(p.identity.PublicKey().PublicKey()),
		"signed_prekey_id": 7, "signed_prekey": bare(p.signed.KeyPair().PublicKey()),
		"signed_prekey_signature": signature[:], "prekey_id": id, "prekey": nil,
	}
	if id != nil {
		found["prekey"] = bare(p.preKeys[*id].KeyPair().PublicKey())
	}
	return found
}

func (p *peer) start(b bundle) error {
	id, oneTime := optional.NewEmptyUint32(), ecc.ECPublicKeyable(nil)
	if b.PreKeyID != nil {
		id, oneTime = optional.NewOptionalUint32(*b.PreKeyID), key(b.PreKey)
	}
	return p.builder.ProcessBundle(background, prekey.NewBundle(b.RegistrationID, 1, id, b.SignedID, oneTime,
		key(b.Signed), bytehelper.SliceToArray64(b.Signature), identity.NewKey(key(b.Identity))))
}

func (p *peer) encrypt(plaintext []byte) (answer, error) {
	if found, _ := p.senderKeys.LoadSenderKey(background, ourGroup); found != nil {
		message, err := groups.NewGroupCipher(p.groups, ourGroup, p.senderKeys).Encrypt(background, plaintext)
		if err != nil {
			return nil, err
		}
		return answer{"ciphertext": message.SignedSerialize()}, nil
	}
	message, err := p.cipher.Encrypt(background, plaintext)
	if err != nil {
		return nil, err
	}
	kind := map[uint32]string{protocol.PREKEY_TYPE: "pkmsg", protocol.WHISPER_TYPE: "msg"}[message.Type()]
	return answer{"type": kind, "ciphertext": message.Serialize()}, nil
}

func (p *peer) decrypt(kind string, ciphertext []byte) ([]byte, error) {
	switch kind {
	case "pkmsg":
		message, err := protocol.NewPreKeySignalMessageFromBytes(ciphertext, codec.PreKeySignalMessage, codec.SignalMessage)
		if err != nil {
			return nil, err
		}
		return p.cipher.DecryptMessage(background, message)
	case "msg":
		message, err := protocol.NewSignalMessageFromBytes(ciphertext, codec.SignalMessage)
		if err != nil {
			return nil, err
		}
		return p.cipher.Decrypt(background, message)
	}
	message, err := protocol.NewSenderKeyMessageFromBytes(ciphertext, codec.SenderKeyMessage)
	if err != nil {
		return nil, err
	}
	return groups.NewGroupCipher(p.groups, theirGroup, p.senderKeys).Decrypt(background, message)
}

func (p *peer) handle(c command) (answer, error) {
	switch c.Do {
	case "bundle":
		return p.bundle(c.PreKey), nil
	case "start":
		return answer{}, p.start(c.Bundle)
	case "encrypt":
		return p.encrypt(c.Plaintext)
	case "decrypt":
		plaintext, err := p.decrypt(c.Type, c.Ciphertext)
		return answer{"plaintext": append([]byte{}, plaintext...)}, err
	case "distribution":
		message, err := p.groups.Create(background, ourGroup)
		if err != nil {
			return nil, err
		}
		return answer{"distribution": message.Serialize()}, nil
	case "process":
		message, err := protocol.NewSenderKeyDistributionMessageFromBytes(c.Distribution, codec.SenderKeyDistributionMessage)
		if err != nil {
			return nil, err
		}
		return answer{}, p.groups.Process(background, theirGroup, message)
	}
	return nil, fmt.Errorf("no such command")
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	// The library's default logger writes to standard output.
	out := json.NewEncoder(os.Stdout)
	os.Stdout = os.Stderr
	p, lines := newPeer(), bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			panic(err)
		}
		found, err := p.handle(c)
		if err != nil {
			found = answer{"error": err.Error()}
		}
		out.Encode(found)
	}
}
