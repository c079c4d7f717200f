"""What a cassette shows of requests and replies: secrets never, identifiers as masks of which each stands for one."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["ANY_MASK", "SECRET", "Masks", "is_secret"]

SECRET: Final = "***"  # noqa: S105  it is none
"""What stands for a secret."""
_HOST: Final = "masked.example"
_DIGITS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID: Final = re.compile(r"MASK[0-9A-HJKMNP-TV-Z]{12}")
"""The mask of an identifier, which can be a claim ID."""
_MASKED_EMAIL: Final = re.compile(r"mask-[0-9a-hjkmnp-tv-z]{12}@masked\.example")
_MASKED_URL: Final = re.compile(rf"https://{re.escape(_HOST)}/MASK[0-9A-HJKMNP-TV-Z]{{12}}")
ANY_MASK: Final = re.compile(rf"\*\*\*|{_ID.pattern}|{_MASKED_EMAIL.pattern}")

_SECRET_NAMES: Final = re.compile(
    r"token|passw|passphrase|passcode|secret|credential|signature|cookie|authorization|session|jwt|bearer"
    r"|(private|public|api|access|encryption|shared)[-_]?key|^key$|^auth$|^pin$|^otp$|^sig$|^product$|^productid$",
    re.IGNORECASE,
)
_KEPT_NAMES: Final = frozenset({"tokentype"})
_ALWAYS_ALIASED: Final = frozenset({"product", "productid"})
"""The key of a product is its token: a secret that tells products apart."""
_STORE_KEY: Final = "key"
_ID_NAMES: Final = re.compile(r"(^|[-_a-z])(id|Id|ID)s?$|^(Device|owner|thing|certArn|sub)$")
_USER_NAMES: Final = re.compile(r"^(e-?mail|user-?name|invitee)$", re.IGNORECASE)

_PEM: Final = re.compile(r"(-----BEGIN [A-Z0-9 ]+-----).*?(-----END [A-Z0-9 ]+-----|\Z)", re.DOTALL)
_TOKENS: Final = re.compile(
    r"(?i:\bbearer\s+)(?P<bearer>[!-~]+)"
    r"|(?P<jwt>\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?)"
    r"|(?P<aws>\b(?:AKIA|ASIA)[0-9A-Z]{12,})"
    r"|(?i:(?:(?:token|password|passwd|secret|signature|authorization|credential|cookie|api[-_]?key"
    r"|private[-_]?key|access[-_]?key)[\w-]{0,32})[\"']?\s*[:=]\s*[\"']?(?:(?:bearer|basic|digest)\s+)?+)"
    r"(?!\*\*\*)(?P<named>[^\s\"'&,;<>{}]+)"
)
_URL: Final = re.compile(r"\b[a-z][a-z0-9+.-]{0,20}://[^\s\"'<>\\{}|^`]+", re.IGNORECASE)
_WHOLE_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_EMAIL: Final = re.compile(
    r"(?<![\w.!#$%&'*+/=?^`{|}~-])[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"
)
_AWS_NAME: Final = re.compile(
    r"\barn:aws[\w-]*:[^\s\"']+|(?<![\w.-])[\w.-]{1,200}\.amazonaws\.com(?:\.cn)?\b", re.IGNORECASE
)
_SHAPED: Final = re.compile(
    r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b|\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"
    r"|\b[a-z]{2}-[a-z]+-\d_[0-9A-Za-z]{8,}\b"
)
"""ULIDs, UUIDs and the keys of user pools: identifiers by their look."""
_WORDS: Final = re.compile(r"[0-9A-Za-z:_-]{4,64}")
_INNER: Final = re.compile(r"[0-9A-Za-z]{4,64}")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")

_SHORTEST_OWN: Final = 4
_SHORTEST: Final = 6
"""Characters of a secret that is looked for in other text; what is shorter is in every text."""
_KNOWN: Final = 256
"""Secrets of replies that are looked for in what follows; those of the client itself are kept beside them."""
_KNOWN_IDS: Final = 100_000


class Masks:
    """Masks what goes into one cassette. The same identifier has the same mask in all of it.

    Args:
        salt: of the cassette; makes its masks differ from those of others.
        ids: whether identifiers are masked; secrets and e-mail addresses always are.
    """

    def __init__(self, salt: str, *, ids: bool = True) -> None:
        self._salt = salt.encode()
        self._masks_ids = ids
        self._own: set[str] = set()
        self._secrets: dict[str, None] = {}
        self._ids: set[str] = set()

    def reseed(self, salt: str) -> None:
        """Mask as with another *salt* from now on."""
        self._salt = salt.encode()

    def alias(self, text: str) -> str:
        """The mask of an identifier, which is the mask of its mask as well."""
        return text if _ID.fullmatch(text) else f"MASK{self._digest(text)}"

    def _digest(self, text: str) -> str:
        data = text.encode("utf-8", "surrogatepass")
        number = int.from_bytes(hashlib.blake2b(data, key=self._salt[:64], digest_size=8).digest())
        return "".join(_DIGITS[number >> shift & 31] for shift in range(0, 60, 5))

    def learn(self, secret: str) -> None:
        """Look for the client's own *secret* in all text from now on."""
        if len(secret) >= _SHORTEST_OWN:
            self._own.add(secret)

    # What an exchange holds -------------------------------------------------------------------------------------------

    def look_at(self, value: Any, name: str = "") -> None:
        """Find the secrets and identifiers in JSON, before it is masked: they may be in other text of the exchange."""
        if isinstance(value, Mapping):
            is_store = self._is_store(value)
            for member, each in value.items():
                below = name if is_secret(name) else member
                if not (is_store and member == _STORE_KEY):
                    self.look_at(each, below)
        elif isinstance(value, list):
            for each in value:
                self.look_at(each, name)
        elif isinstance(value, str):
            self._look_at_text(value, name)

    def _look_at_text(self, text: str, name: str) -> None:
        if is_secret(name):
            if len(text) >= _SHORTEST and SECRET not in text and not text.startswith("-----") and not _is_plain(text):
                if name.lower() in _ALWAYS_ALIASED and not _SHAPED.fullmatch(text):
                    return  # the name of a product
                self._secrets.pop(text, None)
                self._secrets[text] = None
                if len(self._secrets) > _KNOWN:
                    del self._secrets[next(iter(self._secrets))]
        elif _ID_NAMES.search(name) and _is_telling(text) and len(self._ids) < _KNOWN_IDS:
            self._ids.add(text)
        elif _is_json(text) and (value := _parsed(text)) is not None:
            self.look_at(value)

    def value(self, value: Any, name: str = "") -> Any:
        """The JSON *value* of the member *name* as the cassette has it; see `look_at`."""
        if isinstance(value, Mapping):
            is_store = self._is_store(value)
            masked: dict[str, Any] = {}
            for member, each in value.items():
                below = name if is_secret(name) else "" if is_store and member == _STORE_KEY else member
                key = self.text(member)
                while key in masked:
                    key += "*"
                masked[key] = self.value(each, below)
            return masked
        if isinstance(value, list):
            return [self.value(each, name) for each in value]
        if isinstance(value, str):
            return self._member(value, name)
        if is_secret(name) and isinstance(value, (int, float)) and not isinstance(value, bool):
            return 0
        return value

    @staticmethod
    def _is_store(members: Mapping[str, Any]) -> bool:
        """Whether the member ``key`` is that of a Store, and no private key."""
        key = members.get(_STORE_KEY)
        if not isinstance(key, str) or _PEM.match(key):
            return False
        return members.get("_type") == "Store" or ("deviceId" in members and "certificate" not in members)

    def _member(self, text: str, name: str) -> str:
        if not text:
            return text
        if _PEM.match(text):
            return _PEM.sub(r"\1\n***\n\2", text)
        if name.lower() in _ALWAYS_ALIASED:
            is_name = name.lower() == "product" and not _SHAPED.fullmatch(text)
            return self.text(text) if is_name else self.alias(text)
        if is_secret(name):
            return SECRET
        if _USER_NAMES.match(name):
            return self._email(text)
        if self._masks_ids and _ID_NAMES.search(name) and not _is_json(text):
            return self.alias(text) if SECRET not in self._without_secrets(text) else SECRET
        return self.text(text)

    def text(self, text: str) -> str:
        """Any *text* as the cassette has it."""
        if _is_json(text) and (value := _parsed(text)) is not None:
            masked = self.value(value)
            return text if masked == value else json.dumps(masked, ensure_ascii=False, separators=(",", ":"))
        if _WHOLE_URL.fullmatch(text):
            return self.url(text)
        text = _PEM.sub(r"\1\n***\n\2", text)
        text = _URL.sub(lambda match: self.url(match[0]), text)
        text = self._without_secrets(text)
        text = _TOKENS.sub(_without_token, text)
        if "@" in text:
            text = _EMAIL.sub(lambda match: self._email(match[0]), text)
        text = _AWS_NAME.sub(lambda match: self.alias(match[0]), text)
        if self._hides_secret(text):
            return SECRET
        if not self._masks_ids:
            return text
        text = _SHAPED.sub(lambda match: self.alias(match[0]), text)
        return _WORDS.sub(self._word, text) if self._ids else text

    def _word(self, match: re.Match[str]) -> str:
        if match[0] in self._ids:
            return self.alias(match[0])
        return _INNER.sub(lambda inner: self.alias(inner[0]) if inner[0] in self._ids else inner[0], match[0])

    def _without_secrets(self, text: str) -> str:
        for secret in sorted((*self._own, *self._secrets), key=len, reverse=True):  # one may begin with another
            if secret in text:
                text = text.replace(secret, SECRET)
        return text

    def _hides_secret(self, text: str) -> bool:
        """Whether there is a secret in base64 in *text*."""
        for match in _BASE64.finditer(text):
            word = match[0].replace("-", "+").replace("_", "/").rstrip("=")
            try:
                data = base64.b64decode(word + "=" * (-len(word) % 4))
            except binascii.Error:
                continue
            decoded = data.decode("latin-1")
            if any(secret in decoded for secret in (*self._own, *self._secrets)) or _PEM.search(decoded):
                return True
        return False

    def _email(self, text: str) -> str:
        return text if _MASKED_EMAIL.fullmatch(text) else f"mask-{self._digest(text.lower()).lower()}@{_HOST}"

    def url(self, url: str) -> str:
        """The mask of a URL: of its host, its path and, by leaving it out, its query, any of which may be a secret."""
        if match := _MASKED_URL.match(url):
            return match[0]
        return f"https://{_HOST}/{self.alias(url.partition('#')[0].partition('?')[0])}"


def _without_token(match: re.Match[str]) -> str:
    name = match.lastgroup
    assert name is not None
    start, end = match.span(name)
    base = match.start()
    return f"{match[0][: start - base]}{SECRET}{match[0][end - base :]}"


def is_secret(name: str) -> bool:
    """Whether what is called *name*, a member or a header, is secret by its name."""
    return bool(_SECRET_NAMES.search(name)) and name.lower() not in _KEPT_NAMES


def _is_plain(text: str) -> bool:
    """Whether *text* is a word such as Bearer, which is in other text for reasons of its own."""
    return text.isalpha() and len(text) < 12 and (text.islower() or text.istitle())


def _is_telling(text: str) -> bool:
    """Whether *text* is nothing but an identifier wherever it is."""
    return 4 <= len(text) <= 64 and (len(text) >= 10 or any(char.isdigit() for char in text)) and not text.isdigit()


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_json(text: str) -> bool:
    """Whether *text* may be an object or array of JSON, as cursors are."""
    return text[:1] in ("{", "[") and text[-1:] in ("}", "]")
