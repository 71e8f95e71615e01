"""Texts that lead elsewhere: addresses, numbers and links by which a stranger would go on outside the app.

What happens outside has no key, no escrow and no record. Most frauds on markets begin with “write me there”.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from linkify_it import LinkifyIt

Kind = Literal["e-mail address", "web address", "messenger", "telephone number", "account name"]

WORDS = "Leads outside: nobody from Openstall will ask you to go there."
MOST = 20
"""Contacts named of one text; who writes more of them needs no counting."""
_MOST_LETTERS = 8_000

_MESSENGERS = re.compile(
    r"^(?:https?://)?(?:www\.)?(?:t\.me|telegram\.(?:me|dog)|wa\.me|(?:chat\.|api\.)?whatsapp\.com|signal\.(?:me|group)"
    r"|discord\.(?:gg|com)|m\.me|line\.me|join\.skype\.com|matrix\.to|simplex\.chat|threema\.id)(?:/|$)",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"\b(?:telegram|whats ?app|discord|wechat|weixin|skype|viber|threema|icq)"
    r"(?: (?:id|me|at|is|name|number))?\s?[:=@]\s?[^\s,;]{2,64}",
    re.IGNORECASE,
)
_CALLED = re.compile(
    r"\b(?:tel|phone|telephone|mobile|call(?: me)?|sms|text me|ring|whats ?app|signal|viber)\b"
    r"[^\d\n+]{0,12}(\+?\d[\d ()./-]{5,24}\d)",
    re.IGNORECASE,
)
_HANDLE = re.compile(r"(?<![\w@./])@[A-Za-z][A-Za-z0-9_.]{2,31}\b")
_SPELT = re.compile(
    r"[\w.+-]{1,64}\s?[(\[{]\s?at\s?[)\]}]\s?[\w-]{1,63}(?:\s?(?:\.|[(\[{]\s?dot\s?[)\]}])\s?[\w-]{1,63}){1,4}",
    re.IGNORECASE,
)
_FILE_LIKE = re.compile(r"^[\w-]+\.(?:md|py|sh|zip|ai|rs|pl|so|cc)$", re.IGNORECASE)
"""A domain without anything behind it that is rather the name of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """One way out, as it stands in the text."""

    kind: Kind
    text: str


def outside_contacts(text: str) -> list[Contact]:
    """The ways out that a text names, in the order of kinds, each once."""
    plain = unicodedata.normalize("NFKC", text[:_MOST_LETTERS])
    found: dict[tuple[str, str], Contact] = {}
    for contact in _all(plain):
        found.setdefault((contact.kind, contact.text), contact)
        if len(found) == MOST:
            break
    return list(found.values())


def contacts_in(texts: Iterable[str]) -> list[Contact]:
    """Those of several texts, each once."""
    return list(dict.fromkeys(contact for text in texts for contact in outside_contacts(text)))[:MOST]


def texts_of(value: Any) -> Iterator[str]:
    """Every text inside a JSON value that a person may have written."""
    match value:
        case str():
            yield value
        case list():
            for one in value:
                yield from texts_of(one)
        case dict():
            for one in value.values():
                yield from texts_of(one)


def _all(text: str) -> Iterator[Contact]:
    yield from _links(text)
    for match in _SPELT.finditer(text):
        yield Contact(kind="e-mail address", text=match[0])
    for match in _NAMED.finditer(text):
        yield Contact(kind="messenger", text=match[0])
    yield from _numbers(text)
    for match in _HANDLE.finditer(text):
        yield Contact(kind="account name", text=match[0])


def _links(text: str) -> Iterator[Contact]:
    for match in _finder().match(text) or []:
        words = match.text
        if match.schema == "mailto:":
            yield Contact(kind="e-mail address", text=words)
        elif _MESSENGERS.match(words):
            yield Contact(kind="messenger", text=words)
        elif match.schema or not _FILE_LIKE.match(words):
            yield Contact(kind="web address", text=words)


def _numbers(text: str) -> Iterator[Contact]:
    import phonenumbers

    if "+" in text:  # without a country nobody can say what is a telephone number
        for match in phonenumbers.PhoneNumberMatcher(text, None, max_tries=100):
            yield Contact(kind="telephone number", text=match.raw_string)
    for called in _CALLED.finditer(text):
        yield Contact(kind="telephone number", text=called[1])


@lru_cache(maxsize=1)
def _finder() -> LinkifyIt:
    from linkify_it import LinkifyIt

    return LinkifyIt()
