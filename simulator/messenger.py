"""How a phone writes and reads: real Signal messages to every device of a chat, receipts, and second tries."""

from __future__ import annotations

import logging
import secrets
import time
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from simulator import contents
from simulator.errors import PhoneError
from simulator.nodes import GROUP_SERVER, Attr, Jid, Node
from simulator.proto import Message
from simulator.signal import DuplicateMessage, PreKeyBundle, SignalError, SignalState
from simulator.stanzas import groups, relay
from simulator.stanzas.keys import bundle as key_bundle
from simulator.state import ChatLine
from simulator.world import Party

if TYPE_CHECKING:
    from simulator.phone import Phone

log = logging.getLogger(__name__)

READ = {"read", "played"}
#: A sender gives up on a receiver that can't read the fifth try (whatsmeow's receiver gives up then, too).
MOST_TRIES = 5


class Unreadable(Exception):
    """A message that the phone can't read, and why."""


class Messenger:
    """The messages of one phone."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone
        self._world = phone.world
        self._me = phone.party
        self._tries: dict[str, int] = {}

    @property
    def _signal(self) -> SignalState:
        return self._phone.signal

    # -- sending ---------------------------------------------------------------------------------------------------------

    def send_text(self, to: Jid, text: str) -> str:
        """Send to a person or a group, and return the message's id; PhoneError where that can't be."""
        return self.send(to, contents.text(text))

    def send(self, to: Jid, message: Any) -> str:
        """The same for a message of any kind."""
        message_id = "3A" + secrets.token_hex(9).upper()
        if to.server == GROUP_SERVER:
            stanza = self._for_group(to, message_id, message)
        else:
            peer = self._world.state.account_of(to)
            if peer is None:
                raise PhoneError("no-such-account", "That number is not on WhatsApp.")
            to = peer.lid_jid()
            stanza = self._for_user(to, message_id, message)
        self._phone.save()
        ack = relay.message(self._world, self._me, stanza)
        if ack.get("error"):
            raise PhoneError("refused", f"WhatsApp refused the message: {ack.get('error')}.")
        self._note(message_id, "out", to, self._me, contents.read(message), status="sent")
        return message_id

    def send_private(self, companion: Party, message: Any) -> None:
        """Something between an account's own devices that is no chat message: keys, requests."""
        enc = self._encrypt(companion, message)
        self._phone.save()
        attrs: dict[str, Attr] = {"to": companion.account.lid_jid(companion.device), "type": "text", "category": "peer"}
        stanza = Node("message", {**attrs, "id": "3A" + secrets.token_hex(9).upper()}, [enc])
        relay.message(self._world, self._me, stanza)

    def _for_user(self, to: Jid, message_id: str, message: Any) -> Node:
        peer = self._world.state.account_of(to)
        assert peer
        own_copy = Message()
        own_copy.deviceSent.destinationJid = str(to)
        own_copy.deviceSent.message.CopyFrom(message)
        targets = [(party, message) for party in self._world.parties(peer)]
        if peer != self._me.account:
            targets += [(party, own_copy) for party in self._world.parties(self._me.account)]
        return self._stanza(to, message_id, self._participants(to, targets))

    def _for_group(self, to: Jid, message_id: str, message: Any) -> Node:
        group = self._world.state.group(to.user)
        if group is None or self._me.account.number not in group.members:
            raise PhoneError("no-such-account", "This phone is in no such group.")
        own = self._address(self._me)
        # Every message brings the sender key along, so that a member who lost it can read on.
        keys = Message()
        keys.senderKeyDistribution.groupId = str(to)
        keys.senderKeyDistribution.axolotl = self._signal.create_distribution(str(to), own)
        accounts = [account for number in group.members if (account := self._world.state.account(number))]
        targets = [(party, keys) for account in accounts for party in self._world.parties(account)]
        ciphertext = self._signal.encrypt_group(str(to), own, _pad(message.SerializeToString()))
        skmsg = Node("enc", {"v": "2", "type": "skmsg"}, ciphertext)
        return self._stanza(to, message_id, self._participants(self._me.account.lid_jid(), targets), skmsg)

    def _participants(self, like: Jid, targets: list[tuple[Party, Any]]) -> Node:
        nodes = []
        for party, message in targets:
            if party != self._me:
                nodes.append(Node("to", {"jid": party.like(like)}, [self._encrypt(party, message)]))
        return Node("participants", {}, nodes)

    @staticmethod
    def _stanza(to: Jid, message_id: str, *content: Node) -> Node:
        return Node("message", {"to": to, "id": message_id, "type": "text"}, list(content))

    def _encrypt(self, party: Party, message: Any) -> Node:
        address = self._address(party)
        if not self._signal.has_session(address):
            self._start_session(party, key_bundle(self._world, Node("user", {"jid": party.jid})))
        type_, ciphertext = self._signal.encrypt(address, _pad(message.SerializeToString()))
        return Node("enc", {"v": "2", "type": type_}, ciphertext)

    def _start_session(self, party: Party, keys: Node) -> None:
        try:
            self._signal.start_session(self._address(party), _read_bundle(keys))
        except (SignalError, KeyError) as error:
            raise PhoneError("refused", f"The keys of {party.jid} can't be used.") from error

    @staticmethod
    def _address(party: Party) -> str:
        """The Signal address; LIDs are domain 1 (whatsmeow types/jid.go, SignalAddressUser)."""
        return f"{party.account.lid}_1:{party.device}"

    # -- receiving -------------------------------------------------------------------------------------------------------

    def take(self, stanza: Node) -> None:
        """A stanza from the server."""
        if stanza.tag == "message":
            self._take_message(stanza)
        elif stanza.tag in ("receipt", "notification"):
            self._world.state.acknowledge(self._me.account.number, 0, stanza.tag, stanza.get("id"), stanza.get("from"))
            if stanza.tag == "receipt":
                self._take_receipt(stanza)

    def _take_message(self, stanza: Node) -> None:
        chat, author = stanza.jid("from"), stanza.jid("participant") or stanza.jid("from")
        sender = self._world.party(author)
        if chat is None or sender is None:
            # Its sender was unlinked meanwhile; nothing can be asked of it.
            self._world.state.acknowledge(self._me.account.number, 0, "message", stanza.get("id"), stanza.get("from"))
            return
        try:
            for enc in stanza.all("enc"):
                self._take_plaintext(stanza, chat, sender, self._decrypt(enc, chat, sender))
        except DuplicateMessage:
            pass
        except (SignalError, Unreadable, DecodeError) as error:
            self._ask_again(stanza, chat, sender, str(error))
            return
        finally:
            self._phone.save()
        self._receipt(stanza, "sender" if sender.account == self._me.account else "")

    def _decrypt(self, enc: Node, chat: Jid, sender: Party) -> Any:
        address, type_ = self._address(sender), enc.get("type")
        if type_ == "skmsg":
            padded = self._signal.decrypt_group(str(chat), address, enc.data)
        else:
            padded = self._signal.decrypt(address, type_, enc.data)
        if not padded or not 1 <= padded[-1] <= min(16, len(padded)):
            raise Unreadable("The padding is wrong.")
        return Message.FromString(padded[: -padded[-1]])

    def _take_plaintext(self, stanza: Node, chat: Jid, sender: Party, message: Any) -> None:
        if message.HasField("senderKeyDistribution"):
            keys = message.senderKeyDistribution
            self._signal.process_distribution(keys.groupId, self._address(sender), keys.axolotl)
        direction, shown = "in", chat.bare
        if message.HasField("deviceSent"):
            direction, shown = "own", Jid.parse(message.deviceSent.destinationJid)
            message = message.deviceSent.message
        elif sender.account == self._me.account:
            direction = "own"
        if content := contents.read(message):
            self._world.state.drop_failed_line(self._me.account.number, stanza.get("id"))
            self._note(stanza.get("id"), direction, shown, sender, content)

    def _take_receipt(self, stanza: Node) -> None:
        if stanza.get("type") == "retry":
            self._send_again(stanza)
        elif stanza.get("type") in ("", "inactive", *READ):
            status = "read" if stanza.get("type") in READ else "delivered"
            listed = stanza.child("list")
            for message_id in [stanza.get("id"), *(item.get("id") for item in (listed.children if listed else []))]:
                self._world.state.set_line_status(self._me.account.number, message_id, status)
            self._phone.changed()

    def mark_read(self, message_id: str) -> None:
        """Tell the author of a received message that it was read."""
        line = self._line(message_id, "in")
        chat, sender = Jid.parse(line.chat), self._world.state.account_of(Jid.parse(line.sender))
        attrs: dict[str, Attr] = {"to": chat, "id": message_id, "type": "read", "t": str(int(time.time()))}
        if chat.server == GROUP_SERVER and sender:
            attrs["participant"] = sender.lid_jid()
        relay.receipt(self._world, self._me, Node("receipt", attrs))

    def _line(self, message_id: str, *directions: str) -> ChatLine:
        for line in self._world.state.lines(self._me.account.number):
            if line.id == message_id and line.direction in directions:
                return line
        raise PhoneError("no-such-message", "This phone has no such message.")

    def react(self, message_id: str, emoji: str) -> str:
        """React to a message of a chat with a person; the reaction's own id."""
        line = self._line(message_id, "in", "out", "own")
        made = contents.reaction(emoji, message_id, line.chat, from_me=line.direction != "in")
        return self.send(Jid.parse(line.chat), made)

    def reply(self, message_id: str, text: str) -> str:
        """Answer a received message, and quote it; the answer's id."""
        line = self._line(message_id, "in")
        return self.send(Jid.parse(line.chat), contents.reply(text, message_id, line.sender, line.text or ""))

    # -- second tries ----------------------------------------------------------------------------------------------------

    def _ask_again(self, stanza: Node, chat: Jid, sender: Party, why: str) -> None:
        """Say what went wrong, and ask the sender for a copy under fresh keys (whatsmeow retry.go, sendRetryReceipt)."""
        message_id = stanza.get("id")
        count = self._tries[message_id] = self._tries.get(message_id, 0) + 1
        log.info("%s can't read message %s from %s: %s", self._me.jid, message_id, sender.jid, why)
        number = self._me.account.number
        self._world.state.drop_failed_line(number, message_id)
        self._note(message_id, "in", chat.bare, sender, None, error=why)
        if count > MOST_TRIES:
            self._receipt(stanza, "")
            return
        keys = key_bundle(self._world, Node("user", {"jid": self._me.jid}))
        registration = next(child for child in keys.children if child.tag == "registration")
        retry = Node("retry", {"count": str(count), "id": message_id, "t": stanza.get("t"), "v": "1"})
        content = [
            retry,
            registration,
            Node("keys", {}, [child for child in keys.children if child is not registration]),
        ]
        self._receipt(stanza, "retry", content)

    def _send_again(self, receipt: Node) -> None:
        """A receiver could not read: send the same text once more, in a new session."""
        retry, author = receipt.child("retry"), receipt.jid("participant") or receipt.jid("from")
        receiver = self._world.party(author)
        message_id = receipt.get("id")
        line = next(
            (
                x
                for x in self._world.state.lines(self._me.account.number)
                if x.id == message_id and x.direction == "out"
            ),
            None,
        )
        if (
            retry is None
            or receiver is None
            or line is None
            or line.text is None
            or int(retry.get("count") or 1) > MOST_TRIES
        ):
            return
        chat = Jid.parse(line.chat)
        message = Message(conversation=line.text)
        attrs: dict[str, Attr] = {"to": receipt.attrs["from"], "id": message_id, "type": "text"}
        if chat.server == GROUP_SERVER:
            message.senderKeyDistribution.groupId = line.chat
            message.senderKeyDistribution.axolotl = self._signal.create_distribution(line.chat, self._address(self._me))
            attrs["participant"] = receiver.like(self._me.account.lid_jid())
        elif receiver.account == self._me.account:
            own_copy = Message()
            own_copy.deviceSent.destinationJid = line.chat
            own_copy.deviceSent.message.CopyFrom(message)
            message, attrs["recipient"] = own_copy, chat
        own_keys = receipt if receipt.child("keys") else key_bundle(self._world, Node("user", {"jid": receiver.jid}))
        self._start_session(receiver, own_keys)
        enc = self._encrypt(receiver, message)
        enc.attrs["count"] = retry.get("count")
        self._phone.save()
        relay.message(self._world, self._me, Node("message", attrs, [enc]))

    def _receipt(self, stanza: Node, type_: str, content: list[Node] | None = None) -> None:
        attrs: dict[str, Attr] = {
            "to": stanza.attrs["from"],
            "id": stanza.get("id"),
            **({"type": type_} if type_ else {}),
        }
        attrs |= {name: stanza.attrs[name] for name in ("participant", "recipient") if name in stanza.attrs}
        relay.receipt(self._world, self._me, Node("receipt", attrs, content))

    def _note(
        self,
        message_id: str,
        direction: str,
        chat: Jid,
        sender: Party,
        content: contents.Content | None,
        error: str = "",
        status: str = "",
    ) -> None:
        """Keep a line of the chat. Chats with people are named by number, as a person knows them."""
        account = self._world.state.account_of(chat)
        shown = account.jid() if account else chat
        kind, text, more = content or ("text", None, {})
        line = ChatLine(
            message_id, direction, str(shown), str(sender.jid), text, error, status, kind=kind, content=more
        )
        self._world.state.add_line(self._me.account.number, line)
        self._phone.changed()

    def create_group(self, subject: str, numbers: list[str]) -> Jid:
        """A group of this phone's account and the accounts with these numbers."""
        members = [account.jid() for number in numbers if (account := self._world.state.account(number))]
        if len(members) != len(numbers):
            raise PhoneError("no-such-account", "One of those numbers is not on WhatsApp.")
        return groups.create(self._world, self._me.account, subject, members).jid


def _pad(plaintext: bytes) -> bytes:
    """1 to 16 bytes, each of them their number (whatsmeow message.go, padMessage)."""
    count = 1 + secrets.randbelow(16)
    return plaintext + bytes([count]) * count


def _read_bundle(node: Node) -> PreKeyBundle:
    """A bundle as the server hands it out, or as it stands in a retry receipt; KeyError where a part is missing."""
    keys = node.child("keys") or node

    def data(*path: str) -> bytes:
        found = (node if path == ("registration",) else keys).child(*path)
        if found is None:
            raise KeyError(path)
        return found.data

    def number(*path: str) -> int:
        return int.from_bytes(data(*path), "big")

    one_time = (number("key", "id"), data("key", "value")) if keys.child("key") else (None, None)
    signed = number("skey", "id"), data("skey", "value"), data("skey", "signature")
    return PreKeyBundle(number("registration"), data("identity"), *signed, *one_time)
