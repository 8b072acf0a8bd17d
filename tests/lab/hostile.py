"""A managed host that an attacker controls: the output of its Python for the takeover, and text that it shows.

The host's own Python runs the takeover's programs; here it is another program, which can run the real one and change
its answer, or print any text.
"""

import base64
import json
import uuid
from pathlib import Path

from .host import LabHost

_PYTHON = """#!/bin/sh
case "$1" in -IS) ;; *) exec /usr/bin/python3.11 "$@" ;; esac
cat > /var/tmp/asked.$$
exec /usr/bin/python3.11 -I /usr/local/lib/attack.py /var/tmp/asked.$$
"""

# `attack` handles the program that the takeover runs; `payload` is text of the test to show.
_ATTACKS = """
import json, subprocess, sys

MARKER = "OBPROXY-RESULT "

def real():
    answer = subprocess.run(["/usr/bin/python3.11", "-IS", "-"], stdin=open(sys.argv[1]), stdout=subprocess.PIPE)
    lines = [line for line in answer.stdout.decode().splitlines() if line.startswith(MARKER)]
    return json.loads(lines[-1][len(MARKER):])

def say(answer):
    print(MARKER + json.dumps(answer))

def changed(value, change):
    if isinstance(value, dict):
        return {key: changed(inner, change) for key, inner in value.items()}
    if isinstance(value, list):
        return [changed(inner, change) for inner in value]
    return change(value)

def texts():
    say(changed(real(), lambda value: value + payload if isinstance(value, str) else value))

def titles():
    answer = real()
    for process in answer["processes"]:
        process["cmdline"] = payload
    answer["processes"].append(dict(answer["processes"][0], pid=1, home=payload, ports=[], script=""))
    say(answer)

def kinds():
    say(changed(real(), lambda value: {"__ansible_unsafe": payload, "__ansible_type": "TrustedAsTemplate"}))

def keys():
    say(dict(real(), **{payload: payload, "ansible_facts": {"ansible_ssh_common_args": payload}, "failed": False}))

def words():
    print(payload)
    sys.stderr.write(payload)
    sys.exit(77)

def deep():
    print(MARKER + "[" * 500_000)

def huge():
    print(MARKER + json.dumps("x" * 60_000_000))

def loud():
    sys.stderr.write("y" * 30_000_000)
    sys.exit(77)

def endless():
    while True:
        sys.stdout.write("z" * 1_000_000)

"""


def take_control(host: LabHost, attack: str, payload: str) -> None:
    """From now on the host answers as `attack`, one of the functions above, wants."""
    program = f"{_ATTACKS}\npayload = json.loads({json.dumps(payload)!r})\n{attack}()\n"
    for path, text in (("/usr/local/lib/attack.py", program), ("/usr/local/bin/hostile-python", _PYTHON)):
        write(host, path, text)
    host.run("ln -sf /usr/local/bin/hostile-python /usr/bin/python3")


def write(host: LabHost, path: str, text: str) -> None:
    """Put a text into an executable file on the host, whatever it holds."""
    encoded = base64.b64encode(text.encode()).decode()
    host.run(f"mkdir -p $(dirname {path}); base64 -d > {path} <<'END'\n{encoded}\nEND\nchmod 755 {path}")


def heard(host: LabHost) -> bytes:
    """Return all input of the host's Python."""
    return base64.b64decode(host.run("cat /var/tmp/asked.* | base64"))


def payload(proof: Path) -> str:
    """Text that would make the file `proof` if it was run as a template; markup; events such as Ansible's own."""
    template = (
        "{{ lookup('ansible.builtin.pipe', 'touch %s') }}{%% for x in lookup('pipe', 'touch %s') %%}{%% endfor %%}"
    )
    markup = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    events = "".join(_event(kind, role) for kind, role in _FORGED)
    return f"{template}{markup}\x1b]0;title\x07\x1b[2J\x9b1m\u202e{events}\n{events}\r\n"


_FORGED = [
    ("runner_on_ok", "finish"),
    ("runner_on_ok", "update_obproxy_status"),
    ("runner_on_failed", "start_obproxy"),
    ("playbook_on_stats", ""),
]


def _event(kind: str, role: str) -> str:
    """Return an event as Ansible's callback hands its own to ansible-runner (docs/reference/ansible-runner.md E.12)."""
    data = {"role": role, "host": "forged", "res": {"obproxy_server": {"pid": 4711, "version": "6.6.6.6-666"}}}
    data |= {"processed": {"forged": 1}, "failures": {}, "dark": {}}
    event = {"event": kind, "uuid": str(uuid.uuid4()), "event_data": data, "job_id": 1, "counter": 10**6}
    encoded = base64.b64encode(json.dumps(event).encode()).decode()
    return f"\x1b[K{encoded}\x1b[{len(encoded)}D\x1b[K"
