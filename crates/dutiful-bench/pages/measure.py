"""Asks a server for what its pages show, each path seven times, and prints how long it took in ms.

`python3 measure.py PORT`; between two questions is so long a pause that none is answered from a
look that is half a second old.
"""
import http.client
import json
import statistics
import sys
import time

server = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))


def ask(path):
    """Returns how long the answer took, and the answer."""
    begun = time.perf_counter()
    server.request("GET", path)
    answer = server.getresponse()
    body = answer.read()
    assert answer.status == 200, (path, answer.status, body)
    return (time.perf_counter() - begun) * 1000, body


def one_in(state):
    """Returns the id of the newest job in a state."""
    return json.loads(ask(f"/v1/jobs?state={state}&limit=1")[1])["jobs"][0]["id"]


dead, completed = one_in("dead"), one_in("completed")
for path in [
    "/", "/v1/stats", "/v1/queues", "/v1/queues/q3", "/v1/backlog", "/v1/totals", "/v1/workers",
    "/v1/jobs", "/v1/jobs?state=completed", "/v1/jobs?state=dead", "/v1/jobs?state=failed",
    "/v1/jobs?state=pending", "/v1/jobs?live=true", "/v1/jobs?queue=q3",
    "/v1/jobs?state=scheduled&type=type3", "/v1/jobs?tag=nosuch", "/v1/jobs?type=nosuch",
    "/v1/jobs?state=dead&error=nosuch", f"/v1/jobs?correlation_id={completed}",
    f"/v1/jobs/{dead}", f"/v1/jobs/{completed}", "/v1/dead/groups", "/v1/alerts", "/v1/audit",
    "/v1/history?span=hour", "/v1/history?span=year", "/metrics",
]:
    took = []
    for _ in range(7):
        took.append(ask(path)[0])
        time.sleep(0.6)
    print(f"{path[:60]:60} median {statistics.median(took):8.1f}  most {max(took):8.1f}", flush=True)
