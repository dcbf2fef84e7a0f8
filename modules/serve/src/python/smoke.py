"""Asks a server that has just started: smoke.py ADDRESS REQUEST. Prints what it answers."""

import json
import os
import sys
import urllib.error
import urllib.request


def ask(url, body=None):
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"{url} answers {error.code}: {error.read().decode(errors='replace')}")


address, request = sys.argv[1:]
if os.getuid() == 0:
    sys.exit("the image's user is root")
ask(f"{address}/health")
print(json.dumps(ask(f"{address}/predict", request.encode())))
