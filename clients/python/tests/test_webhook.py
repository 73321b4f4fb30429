"""Signatures of webhooks: the published vector, and every single bit of it changed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import unittest
from collections.abc import Iterator
from typing import Any

from dutiful import WebhookRefused, verify_webhook

# The vector of the Standard Webhooks specification's own libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'
NOW = 1614265330
HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def flips(data: bytes) -> Iterator[bytes]:
    for bit in range(len(data) * 8):
        copy = bytearray(data)
        copy[bit // 8] ^= 1 << bit % 8
        yield bytes(copy)


class WebhookTest(unittest.TestCase):
    def refused(self, body: Any, headers: dict[str, str], secrets: Any, **options: Any) -> None:
        with self.assertRaises(WebhookRefused):
            verify_webhook(body, headers, secrets, **{"now": NOW, **options})

    def test_accepts_the_published_vector(self) -> None:
        self.assertEqual(verify_webhook(BODY, HEADERS, SECRET, now=NOW), {"test": 2432232314})
        upper = {name.title(): value for name, value in HEADERS.items()}
        verify_webhook(BODY.decode(), upper, SECRET, now=NOW)

    def test_refuses_every_single_flipped_bit(self) -> None:
        for body in flips(BODY):
            self.refused(body, HEADERS, SECRET)
        for name in HEADERS:
            for value in flips(HEADERS[name].encode()):
                headers = {**HEADERS, name: value.decode("latin-1")}
                # A timestamp that is another number must fail by its signature, not its age.
                self.refused(BODY, headers, SECRET, tolerance=1e12)

    def test_accepts_one_of_several_signatures_by_one_of_several_secrets(self) -> None:
        signed = f"{HEADERS['webhook-id']}.{HEADERS['webhook-timestamp']}.".encode() + BODY
        digest = hmac.new(base64.b64decode(OTHER[6:]), signed, hashlib.sha256).digest()
        other = "v1," + base64.b64encode(digest).decode()
        several = {**HEADERS, "webhook-signature": f"v1a,AAAA {other} v1,AAAA"}
        self.refused(BODY, several, SECRET)
        verify_webhook(BODY, several, [SECRET, OTHER], now=NOW)
        verify_webhook(BODY, HEADERS, [OTHER, SECRET], now=NOW)
        self.refused(BODY, HEADERS, [OTHER])
        self.refused(BODY, HEADERS, [])

    def test_refuses_what_is_too_old_or_too_new_and_what_is_missing(self) -> None:
        for away in (-301, 301):
            self.refused(BODY, HEADERS, SECRET, now=NOW + away)
        for near in (-299, 299):
            verify_webhook(BODY, HEADERS, SECRET, now=NOW + near)
        for name in HEADERS:
            self.refused(BODY, {**HEADERS, name: ""}, SECRET)
        with self.assertRaises(ValueError):
            verify_webhook(BODY, HEADERS, "whsec_", now=NOW)
