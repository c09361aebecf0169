"""Why a session is as it is: reason code → a sentence for people, what to do next, and whether trying again can help.

The codes are stable and stored; the sentences are English source texts for gettext (`templatetags` and `models` translate
them). Nobody else compares codes to decide whether to retry: `retries()` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Reason codes, kebab case."""

    NONE = ""
    WAITING_FOR_HOST = "waiting-for-host"
    ASKED = "asked"
    SCANNED = "scanned"
    PAIRING_TIMED_OUT = "pairing-timed-out"
    PAIRING_INTERRUPTED = "pairing-interrupted"
    PAIRING_REFUSED = "pairing-refused"
    WRONG_NUMBER = "wrong-number"
    PASSKEY_NEEDED = "passkey-needed"
    WHATSAPP_UNREACHABLE = "whatsapp-unreachable"
    CONNECTION_CUT = "connection-cut"
    CONNECT_TIMED_OUT = "connect-timed-out"
    NOT_ANSWERING = "not-answering"
    WHATSAPP_ERROR = "whatsapp-error"
    PHONE_AWAY = "phone-away"
    PHONE_AWAY_LONG = "phone-away-long"
    ENGINE_DIED = "engine-died"
    ENGINE_RENEWED = "engine-renewed"
    CRASHES_ENGINES = "crashes-engines"
    HOST_STOPPED = "host-stopped"
    BALANCED = "balanced"
    LEASE_LOST = "lease-lost"
    STORAGE_UNAVAILABLE = "storage-unavailable"
    VAULT_UNREADABLE = "vault-unreadable"
    LIVE_STORE_BROKEN = "live-store-broken"
    LIVE_STORE_BUSY = "live-store-busy"
    DISK_FULL = "disk-full"
    CREDENTIALS_VANISHED = "credentials-vanished"
    CREDENTIALS_MISSING = "credentials-missing"
    UNLINKED = "unlinked"
    LOGGED_OUT_HERE = "logged-out-here"
    STREAM_REPLACED = "stream-replaced"
    TEMPORARILY_BANNED = "temporarily-banned"
    CLIENT_OUTDATED = "client-outdated"
    OUTCOME_UNKNOWN = "outcome-unknown"
    SEND_REFUSED = "send-refused"
    NOT_ON_WHATSAPP = "not-on-whatsapp"
    UNREADABLE = "unreadable"
    QUEUE_EXPIRED = "queue-expired"
    ACCOUNT_CHANGED = "account-changed"
    NOTHING_TO_ANSWER = "nothing-to-answer"
    FILE_NOT_FETCHED = "file-not-fetched"
    FILE_TOO_LARGE = "file-too-large"
    FILE_WRONG_TYPE = "file-wrong-type"
    FILE_NOT_TAKEN = "file-not-taken"
    FILE_UNREADABLE = "file-unreadable"


@dataclass(frozen=True)
class Explanation:
    """What a person reads: `sentence` says what happened, `action` what to do next ("" where nothing is needed)."""

    sentence: str
    action: str = ""
    retries: bool = False


EXPLANATIONS: dict[Reason, Explanation] = {
    Reason.NONE: Explanation(""),
    Reason.WAITING_FOR_HOST: Explanation(
        "Waiting for a worker to take this session.",
        "If this lasts longer than a few seconds, check that a worker is running.",
        retries=True,
    ),
    Reason.ASKED: Explanation("A person or a program asked for it."),
    Reason.SCANNED: Explanation("A phone has scanned the code; the session is being linked."),
    Reason.PAIRING_TIMED_OUT: Explanation(
        "No phone was linked before the codes ran out.",
        "Start a new round and scan again. If the phone said that it cannot link more devices, log one out there first "
        "(Settings > Linked devices): WhatsApp allows four, and tells only the phone.",
    ),
    Reason.PAIRING_INTERRUPTED: Explanation(
        "The connection to WhatsApp broke while codes were shown.", "Start a new round."
    ),
    Reason.PAIRING_REFUSED: Explanation(
        "WhatsApp refused to link a device now.", "Wait a few minutes, then start a new round."
    ),
    Reason.WRONG_NUMBER: Explanation(
        "Another phone than the expected one was linked, so it is unlinked again at once.",
        "Start a new round and scan with the expected phone, or change the expected number.",
    ),
    Reason.PASSKEY_NEEDED: Explanation(
        "WhatsApp asks this account for a passkey before it links a device, and a server cannot answer that.",
        "On the phone, open Settings > Account > Passkeys and remove the passkey, then start a new round.",
    ),
    Reason.WHATSAPP_UNREACHABLE: Explanation(
        "WhatsApp could not be reached.", "Check this server's internet connection and proxy.", retries=True
    ),
    Reason.CONNECTION_CUT: Explanation("The connection to WhatsApp was cut.", retries=True),
    Reason.CONNECT_TIMED_OUT: Explanation("WhatsApp did not let the session in within a minute.", retries=True),
    Reason.NOT_ANSWERING: Explanation("The connection is open, but WhatsApp does not answer.", retries=True),
    Reason.WHATSAPP_ERROR: Explanation("WhatsApp reported an error of its own.", retries=True),
    Reason.PHONE_AWAY: Explanation(
        "Nothing was heard of the phone for 10 days. After 14 days without it, WhatsApp unlinks this session.",
        "Connect the phone to the internet and open WhatsApp on it.",
    ),
    Reason.PHONE_AWAY_LONG: Explanation(
        "Nothing was heard of the phone for 12 days. After 14 days without it, WhatsApp unlinks this session.",
        "Connect the phone to the internet and open WhatsApp on it within a day.",
    ),
    Reason.ENGINE_DIED: Explanation(
        "The process that held the connection died; it is being started again.", retries=True
    ),
    Reason.ENGINE_RENEWED: Explanation(
        "The process that held the connection had grown too large; the session moved to a fresh one.", retries=True
    ),
    Reason.CRASHES_ENGINES: Explanation(
        "The WhatsApp library crashed again and again with this session, even in a process of its own.",
        "Start it again after an update of Oxy. If it still fails, report the worker's log to Oxy's authors.",
    ),
    Reason.HOST_STOPPED: Explanation("The worker was stopped; another one takes over.", retries=True),
    Reason.BALANCED: Explanation("Another worker has more room; it takes this session over.", retries=True),
    Reason.LEASE_LOST: Explanation("Another worker has taken over this session.", retries=True),
    Reason.STORAGE_UNAVAILABLE: Explanation(
        "The database could not be reached, so the session was stopped to protect it.",
        "Nothing is lost: it starts again when the database is back.",
        retries=True,
    ),
    Reason.VAULT_UNREADABLE: Explanation(
        "The stored credentials cannot be read, so nothing was changed.",
        "Check OXY_ENCRYPTION_KEYS and the database, then start the session. Do not pair again before that.",
    ),
    Reason.LIVE_STORE_BROKEN: Explanation(
        "The session's working file could not be prepared.",
        "Check the free space and the rights of the session path, then start the session.",
    ),
    Reason.LIVE_STORE_BUSY: Explanation(
        "Another process on this machine still works on this session's file.",
        "It lets go by itself within half a minute. If it does not, look for an engine process that was left behind.",
        retries=True,
    ),
    Reason.DISK_FULL: Explanation(
        "The disk did not take what the session received, so it was disconnected before more could arrive.",
        "Free some space at the session path. WhatsApp keeps the messages until then.",
        retries=True,
    ),
    Reason.CREDENTIALS_VANISHED: Explanation(
        "The working file lost its credentials without a word from WhatsApp; the stored copy was kept.",
        "Start the session: it is rebuilt from the stored copy.",
    ),
    Reason.CREDENTIALS_MISSING: Explanation(
        "This session had been linked, but the database holds no credentials for it any more.",
        "If the database was restored from an older copy, restore a newer one. Starting the session pairs it anew, with a scan.",
    ),
    Reason.UNLINKED: Explanation(
        "The phone unlinked this device, or WhatsApp did.", "Start the session and scan the code again."
    ),
    Reason.LOGGED_OUT_HERE: Explanation("The session was logged out from here.", "Start it to pair again."),
    Reason.STREAM_REPLACED: Explanation(
        "Another program connected with the same credentials.",
        "Stop the other program, then start this session.",
    ),
    Reason.TEMPORARILY_BANNED: Explanation(
        "WhatsApp has blocked this account for some time.",
        "It connects again by itself when the block ends. Send fewer messages to people who have not written first.",
    ),
    Reason.OUTCOME_UNKNOWN: Explanation(
        "The connection broke while this message was being sent, so nobody can say whether it arrived.",
        "Look at the chat on the phone before you send it again.",
    ),
    Reason.SEND_REFUSED: Explanation(
        "WhatsApp, or its library, refused to send this message.", "Check the recipient's number, then send it again."
    ),
    Reason.UNREADABLE: Explanation(
        "A device of the recipient could not read this message, and it could not be repeated for that device.",
        "Send it again.",
    ),
    Reason.NOT_ON_WHATSAPP: Explanation(
        "There is no WhatsApp account with this number, so nothing was sent.",
        "Check the number and its country code; in Brazil, with and without the 9 before it.",
    ),
    Reason.ACCOUNT_CHANGED: Explanation(
        "It waited to be sent from another WhatsApp account, to which this session was linked before.",
        "Send it again, if it should go out from this account.",
    ),
    Reason.NOTHING_TO_ANSWER: Explanation(
        "The message that this one answers, or reacts to, was never sent or is no longer stored, so this one was not sent.",
        "See what became of that message.",
    ),
    Reason.FILE_NOT_FETCHED: Explanation(
        "The file could not be fetched from its address, so nothing was sent.",
        "Check that the address answers without a password, then send the message again.",
    ),
    Reason.FILE_TOO_LARGE: Explanation(
        "The file at this address is larger than may be sent, so nothing was sent.",
        "Send a smaller file, or allow larger ones (OXY_FILE_LIMIT_MB).",
    ),
    Reason.FILE_WRONG_TYPE: Explanation(
        "The file at this address is not of a kind that WhatsApp shows in this way, so nothing was sent.",
        "Send it as a document.",
    ),
    Reason.FILE_NOT_TAKEN: Explanation(
        "WhatsApp did not take the file, so nothing was sent.", "Send the message again in a while."
    ),
    Reason.FILE_UNREADABLE: Explanation(
        "The stored file cannot be decrypted, so nothing was sent.",
        "Check OXY_ENCRYPTION_KEYS, then send the message again.",
    ),
    Reason.QUEUE_EXPIRED: Explanation(
        "The session was not connected in the time that this message could wait, so it was not sent.",
        "See why the session was down, then send the message again.",
    ),
    Reason.CLIENT_OUTDATED: Explanation(
        "WhatsApp no longer accepts this version of the client library.",
        "Install a newer release of Oxy (package neonize), then start the session.",
    ),
}


def explain(code: str) -> Explanation:
    """The explanation of a stored code; an unknown code explains itself, so that an old row never breaks a page."""
    try:
        return EXPLANATIONS[Reason(code)]
    except ValueError:
        return Explanation(code)


def retries(reason: Reason) -> bool:
    """Whether a host should try again by itself after this."""
    return EXPLANATIONS[reason].retries
