"""Checks the signature of a webhook by the Standard Webhooks specification."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Optional, Union

from .errors import DutifulError

TOLERANCE = 300


class WebhookRefused(DutifulError):
    """Not from us, changed on the way, or too old: answer with 400 and do nothing else."""


def verify_webhook(
    body: Union[bytes, str],
    headers: Mapping[str, str],
    secrets: Union[str, Sequence[str]],
    *,
    tolerance: float = TOLERANCE,
    now: Optional[float] = None,
) -> Any:
    """Answers the body as parsed JSON, or raises WebhookRefused. `body` must be the bytes as they
    came, never what was parsed and printed again. While a secret is being replaced, give both:
    one signature that fits one secret is enough."""
    found = {name.lower(): value for name, value in headers.items()}
    for part in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        if not found.get(part):
            raise WebhookRefused(f"the header {part} is missing")
    timestamp = found["webhook-timestamp"]
    if not re.fullmatch("[0-9]{1,12}", timestamp):
        raise WebhookRefused("the timestamp is not a number")
    if abs((time.time() if now is None else now) - int(timestamp)) > tolerance:
        raise WebhookRefused(f"the timestamp is over {tolerance} s away from this clock")
    data = body.encode() if isinstance(body, str) else body
    signed = f"{found['webhook-id']}.{timestamp}.".encode() + data
    given = [one for one in found["webhook-signature"].split(" ") if one.startswith("v1,")]
    fits = False
    for secret in [secrets] if isinstance(secrets, str) else secrets:
        digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
        expected = b"v1," + base64.b64encode(digest)
        for one in given:
            # Every pair is compared, so that the time taken does not say which one came close.
            fits |= hmac.compare_digest(expected, one.encode())
    if not fits:
        raise WebhookRefused("no signature fits")
    return json.loads(data)


def _key(secret: str) -> bytes:
    text = secret[6:] if secret.startswith("whsec_") else secret
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("a webhook secret is whsec_ and base64") from error
    if not key:
        raise ValueError("a webhook secret is whsec_ and base64")
    return key
