"""Hands over work and waits for a result, as a web application would."""

import os

from dutiful import Client

client = Client(os.environ.get("DUTIFUL_URL", "http://127.0.0.1:7700"))

# A request that comes twice, as requests do, is one job: its key says so.
for _ in range(2):
    job = client.enqueue(
        "send_welcome",
        {"to": "ann@example.com", "name": "Ann"},
        queue="mail",
        unique_key="welcome:ann@example.com",
    )
    print(f"welcome for Ann: job {job['id']} ({job['outcome']})")

# Thousands in a few requests.
rows = client.enqueue_all({"type": "import_row", "payload": {"n": n}} for n in range(2500))
print(f"{len(rows)} rows to import")

# The first attempt of this one fails; the second one's result is awaited here.
report = client.enqueue("make_report", {"month": "2026-11"})
ended = client.result(report["id"], wait=30)
print(f"the report is {ended['state']}: {ended['result']}")
