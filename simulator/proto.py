"""The protocol buffers of WhatsApp that the simulator reads and writes, each with only the fields it needs.

Declared as text, one message a paragraph, and built in a private descriptor pool: neonize brings full definitions under other names in the
process of a client, and the simulator must not depend on them. Numbers and types are those of WhatsApp Web's own definitions, as
published with whatsmeow and Baileys. A field that is not declared is kept as an unknown field and survives a round trip.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

DECLARATIONS = """
HandshakeMessage: clientHello 2 ClientHello, serverHello 3 ServerHello, clientFinish 4 ClientFinish
ClientHello: ephemeral 1 bytes, static 2 bytes, payload 3 bytes
ServerHello: ephemeral 1 bytes, static 2 bytes, payload 3 bytes
ClientFinish: static 1 bytes, payload 2 bytes

CertChain: leaf 1 Certificate, intermediate 2 Certificate
Certificate: details 1 bytes, signature 2 bytes
CertDetails: serial 1 uint32, issuerSerial 2 uint32, key 3 bytes, notBefore 4 uint64, notAfter 5 uint64

ClientPayload: username 1 uint64, passive 3 bool, userAgent 5 UserAgent, device 18 uint32, devicePairingData 19 PairingData, pull 33 bool
UserAgent: platform 1 int32, appVersion 2 AppVersion
AppVersion: primary 1 uint32, secondary 2 uint32, tertiary 3 uint32
PairingData: eRegid 1 bytes, eKeytype 2 bytes, eIdent 3 bytes, eSkeyID 4 bytes, eSkeyVal 5 bytes, eSkeySig 6 bytes, deviceProps 8 bytes
DeviceProps: os 1 string, platformType 3 int32

DeviceIdentity: rawID 1 uint32, timestamp 2 uint64, keyIndex 3 uint32, accountType 4 int32, deviceType 5 int32
SignedDeviceIdentity: details 1 bytes, accountSignatureKey 2 bytes, accountSignature 3 bytes, deviceSignature 4 bytes
SignedDeviceIdentityHmac: details 1 bytes, hmac 2 bytes, accountType 3 int32
KeyIndexList: rawID 1 uint32, timestamp 2 uint64, currentIndex 3 uint32, validIndexes 4 uint32*
SignedKeyIndexList: details 1 bytes, accountSignature 2 bytes
ClientPairingProps: isChatDbLidMigrated 1 bool, isSyncdPureLidSession 2 bool

Message: conversation 1 string, senderKeyDistribution 2 SenderKeys, image 3 Image, contact 4 Contact, location 5 Location, \
    extendedText 6 Text, document 7 Document, audio 8 Audio, video 9 Video, \
    protocol 12 Protocol, deviceSent 31 DeviceSent, reaction 46 Reaction
SenderKeys: groupId 1 string, axolotl 2 bytes
Text: text 1 string, context 17 Context
Context: stanzaId 1 string, participant 2 string, quoted 3 Message
Key: remoteJid 1 string, fromMe 2 bool, id 3 string, participant 4 string
Reaction: key 1 Key, text 2 string, senderTimestampMs 4 int64
Location: latitude 1 double, longitude 2 double, name 3 string, address 4 string, context 17 Context
Contact: displayName 1 string, vcard 16 string, context 17 Context
Image: url 1 string, mimetype 2 string, caption 3 string, fileHash 4 bytes, fileLength 5 uint64, mediaKey 8 bytes, encHash 9 bytes, \
    directPath 11 string, context 17 Context
Document: url 1 string, mimetype 2 string, title 3 string, fileHash 4 bytes, fileLength 5 uint64, mediaKey 7 bytes, fileName 8 string, \
    encHash 9 bytes, directPath 10 string, context 17 Context, caption 20 string
Audio: url 1 string, mimetype 2 string, fileHash 3 bytes, fileLength 4 uint64, seconds 5 uint32, ptt 6 bool, mediaKey 7 bytes, \
    encHash 8 bytes, directPath 9 string, context 17 Context
Video: url 1 string, mimetype 2 string, fileHash 3 bytes, fileLength 4 uint64, seconds 5 uint32, mediaKey 6 bytes, caption 7 string, \
    encHash 11 bytes, directPath 13 string, context 17 Context
DeviceSent: destinationJid 1 string, message 2 Message
Protocol: type 2 int32, appStateSyncKeyShare 7 KeyShare
KeyShare: keys 1 SyncKey*
SyncKey: keyId 1 KeyId, keyData 2 SyncKeyData
KeyId: id 1 bytes
SyncKeyData: keyData 1 bytes, fingerprint 2 Fingerprint, timestamp 3 int64
Fingerprint: rawId 1 uint32, currentIndex 2 uint32, deviceIndexes 3 uint32*

SyncActionData: index 1 bytes, value 2 SyncActionValue, padding 3 bytes, version 4 int32
SyncActionValue: timestamp 1 int64, pushName 7 PushName
PushName: name 1 string
Patch: version 1 Version, mutations 2 Mutation*, snapshotMac 4 bytes, patchMac 5 bytes, keyId 6 KeyId
Mutation: operation 1 int32, record 2 Record
Version: version 1 uint64
Record: index 1 Blob, value 2 Blob, keyId 3 KeyId
Blob: blob 1 bytes
"""

SCALARS = {
    name: getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{name.upper()}")
    for name in ("bytes", "string", "bool", "int32", "int64", "uint32", "uint64", "double")
}


def _add_field(message: descriptor_pb2.DescriptorProto, declaration: str) -> None:
    name, number, kind = declaration.split()
    field = message.field.add(name=name, number=int(number))
    repeated = kind.endswith("*")
    field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
    kind = kind.rstrip("*")
    if kind in SCALARS:
        field.type = SCALARS[kind]
        # Signal and ADV lists of numbers are packed on the wire, though proto2 does not pack by default.
        field.options.packed = repeated
    else:
        field.type, field.type_name = field.TYPE_MESSAGE, f".oxysim.{kind}"


def _build(declarations: str) -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="oxysim.proto", package="oxysim", syntax="proto2")
    for line in filter(None, declarations.splitlines()):
        name, fields = line.split(": ", 1)
        message = file.message_type.add(name=name)
        for declaration in fields.split(", "):
            _add_field(message, declaration)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        m.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"oxysim.{m.name}"))
        for m in file.message_type
    }


_CLASSES = _build(DECLARATIONS)

HandshakeMessage: Any = _CLASSES["HandshakeMessage"]
CertChain: Any = _CLASSES["CertChain"]
CertDetails: Any = _CLASSES["CertDetails"]
ClientPayload: Any = _CLASSES["ClientPayload"]
DeviceProps: Any = _CLASSES["DeviceProps"]
DeviceIdentity: Any = _CLASSES["DeviceIdentity"]
SignedDeviceIdentity: Any = _CLASSES["SignedDeviceIdentity"]
SignedDeviceIdentityHmac: Any = _CLASSES["SignedDeviceIdentityHmac"]
KeyIndexList: Any = _CLASSES["KeyIndexList"]
SignedKeyIndexList: Any = _CLASSES["SignedKeyIndexList"]
ClientPairingProps: Any = _CLASSES["ClientPairingProps"]
Message: Any = _CLASSES["Message"]
SyncActionData: Any = _CLASSES["SyncActionData"]
Patch: Any = _CLASSES["Patch"]
