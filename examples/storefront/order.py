"""Takes an order in Python: the order and its three jobs in one transaction, by psycopg 3.

Use: DATABASE_URL=postgres://... python3 order.py NUMBER [fail]
"""
import json
import os
import sys

import psycopg


def take(db, order, fails):
    payload = json.dumps({"order": order})
    db.execute("INSERT INTO orders (id, taken_by) VALUES (%s, 'python')", (order,))
    jobs = [
        {"type": "take_from_stock", "payload": {"order": order}, "queue": "orders", "priority": 1},
        {"type": "send_receipt", "payload": {"order": order}, "queue": "mail",
         "unique_key": f"receipt:{order}"},
    ]
    db.execute("SELECT * FROM dutiful.enqueue_many(%s)", (json.dumps(jobs),))
    db.execute(
        "SELECT dutiful.enqueue('ask_for_review', %s::json, queue => 'mail', delay => %s)",
        (payload, "200 milliseconds"),
    )
    if fails:
        raise RuntimeError("the card was refused")


def main():
    order, fails = int(sys.argv[1]), sys.argv[2:] == ["fail"]
    try:
        # Commits at the end of the block, or rolls back when it is left by an error.
        with psycopg.connect(os.environ["DATABASE_URL"]) as db:
            take(db, order, fails)
        print(f"order {order} is taken")
    except RuntimeError as error:
        print(f"order {order} is not taken: {error}")


if __name__ == "__main__":
    main()
