"""TwiML and Twilio's request signature: what a voice provider sends and expects.

Owns the XML of the three answers, and the check that a request really comes from the provider (HMAC-SHA1 over the URL
and the sorted parameters, as Twilio documents it).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from xml.sax.saxutils import escape, quoteattr

HEAD = '<?xml version="1.0" encoding="UTF-8"?>'


def signature(token: str, url: str, parameters: Mapping[str, str]) -> str:
    """The signature of a request."""
    text = url + "".join(name + parameters[name] for name in sorted(parameters))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def is_signed(token: str, url: str, parameters: Mapping[str, str], given: str) -> bool:
    """Whether a request carries the right signature."""
    return hmac.compare_digest(signature(token, url, parameters), given)


def ask(text: str, action: str) -> str:
    """Says something and waits for one digit."""
    gather = f'<Gather numDigits="1" timeout="6" action={quoteattr(action)}><Say>{escape(text)}</Say></Gather>'
    return f"{HEAD}<Response>{gather}<Redirect>{escape(action)}</Redirect></Response>"


def dial(text: str, number: str) -> str:
    """Says something and connects."""
    return f"{HEAD}<Response><Say>{escape(text)}</Say><Dial>{escape(number)}</Dial></Response>"


def end(text: str) -> str:
    """Says something and hangs up."""
    return f"{HEAD}<Response><Say>{escape(text)}</Say><Hangup/></Response>"
