"""How long after the answer to a call its notification comes.

notification_delay.py CALLS: so many deductions, ten a second, each for another user.
Prints a line for each: milliseconds from the answer to the notification.  Below 0: the
notification was there first.
"""

import json
import sys
import threading
import time

import psycopg

calls = int(sys.argv[1])
users = [str(4200000000000000 + n) for n in range(1, calls + 1)]
notified = {user: [] for user in users}  # (seq, time) of each


def listen(connection):
    for notify in connection.notifies():
        at = time.monotonic()
        message = json.loads(notify.payload)
        if message.get("user_id") in notified:
            notified[message["user_id"]].append((message["seq"], at))


def first_notified(user, seq):
    return next((at for newest, at in notified[user] if newest >= seq), None)


listener = psycopg.connect(autocommit=True)
listener.execute("LISTEN credits")
threading.Thread(target=listen, args=[listener], daemon=True).start()

answered = {}
caller = psycopg.connect(autocommit=True, options="-c search_path=credits")
for user in users:
    (receipt,) = caller.execute("SELECT credits_deduct(%s, 1)", [user]).fetchone()
    answered[user, receipt["seq"]] = time.monotonic()
    time.sleep(0.1)

deadline = time.monotonic() + 30
while any(first_notified(*call) is None for call in answered) and time.monotonic() < deadline:
    time.sleep(0.1)
for call, at in answered.items():
    if first_notified(*call) is not None:
        print(f"{(first_notified(*call) - at) * 1000:.3f}")
