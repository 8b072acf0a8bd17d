"""Puts what an attacker would put at paths on a host, and runs the takeover's programs there.

All of it happens in one program on the host, so that many attacks take little time.
"""

import json
from dataclasses import dataclass
from typing import Any

from .host import LabHost
from .hostile import write

ATTACKS = ("link", "hard link", "pipe", "device", "huge", "endless")
SECRET, MARK = "/root/secret", "only-root-may-read-this"
TRAP = "/root/trap"
WHO = "/var/tmp/who"
_DRIVER = "/var/tmp/attacks.py"
_PROGRAM = """
import json, os, shutil, stat, subprocess, sys, time

wanted = json.load(open("/var/tmp/wanted.json"))
SECRET, TRAP = wanted["secret"], wanted["trap"]
ENDLESS = "/var/tmp/endless"  # moved to the path and back: making its entries takes as long as all attacks together

def put(attack, path, is_directory):
    if attack == "link":
        os.symlink(TRAP if is_directory else SECRET, path)
    elif attack == "hard link":
        os.link(SECRET, path)
    elif attack == "pipe":
        os.mkfifo(path, 0o666)
    elif attack == "device":
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    elif attack == "huge":
        with open(path, "wb") as file:
            file.truncate(2**40)
    elif attack == "endless":
        if not os.path.isdir(ENDLESS) or len(os.listdir(ENDLESS)) <= wanted["entries"]:
            clear(ENDLESS)
            make_endless()
        os.rename(ENDLESS, path)
    if attack in ("pipe", "device", "huge"):
        subprocess.check_call(["chown", "-h", "admin:", path])

def make_endless():
    os.mkdir(ENDLESS)
    for number in range(wanted["entries"]):
        open(ENDLESS + "/%d" % number, "w").close()
    deep = ENDLESS
    for _ in range(300):
        deep += "/d"
        os.mkdir(deep)
    subprocess.check_call(["chown", "-hR", "admin:", ENDLESS])

def clear(path):
    subprocess.check_call(["rm", "-rf", path])

def restore():
    for place in wanted["places"]:
        clear(place)
        subprocess.check_call(["cp", "-a", "/var/tmp/pristine" + place, place])

def run(name):
    begun = time.monotonic()
    with open("/var/tmp/programs/" + name, "rb") as source:
        ended = subprocess.run(["/usr/bin/python3.11", "-IS", "-"], stdin=source, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, timeout=120)
    return {"program": name, "seconds": time.monotonic() - begun, "status": ended.returncode,
            "said": ended.stdout.decode("utf-8", "replace"), "errors": ended.stderr.decode("utf-8", "replace")}

def attacked():
    for path, name in wanted["paths"]:
        for attack in wanted["attacks"]:
            restore()
            is_directory, kept = os.path.isdir(path), path + ".kept"
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if os.path.lexists(path):
                os.rename(path, kept)
            put(attack, path, is_directory)
            yield dict(run(name), attack=attack, path=path)
            if attack == "endless" and os.path.isdir(path):
                os.rename(path, ENDLESS)
            clear(path)
            if os.path.lexists(kept):
                os.rename(kept, path)

def raced():
    restore()
    racer = subprocess.Popen(["/usr/bin/python3.11", "-IS", "-c", wanted["racer"]], user="admin", group="admin",
                             extra_groups=[])
    try:
        for _ in range(wanted["rounds"]):
            for name in sorted({name for _, name in wanted["paths"]}):
                yield dict(run(name), attack="race", path="all")
    finally:
        alive = racer.poll() is None
        racer.kill()
        racer.wait()
        restore()
    yield {"program": "racer", "seconds": 0, "status": 0 if alive else 1, "said": "", "errors": "", "attack": "race",
           "path": "all"}

print(json.dumps([*attacked(), *raced()]))
"""
# As the user: each path in turn is a link to a file of root's, a link to a program of root's, a pipe, or what it was.
_RACER = """
import os
paths, secret = %r
texts = {}
for path in paths:
    try:
        texts[path] = open(path, "rb").read(), os.stat(path).st_mode & 0o777
    except OSError:
        texts[path] = b"text", 0o755

def swap(path, make):
    try:
        make(path + ".new")
        os.rename(path + ".new", path)
    except OSError:
        try:
            os.unlink(path + ".new")
        except OSError:
            pass

def file(path):
    text, mode = texts[path[:-4]]
    with open(path, "wb") as opened:
        opened.write(text)
    os.chmod(path, mode)

while True:
    for path in paths:
        for make in (lambda at: os.symlink(secret, at), lambda at: os.symlink("/bin/true", at), os.mkfifo, file):
            swap(path, make)
"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of a program while a path was attacked."""

    program: str
    path: str
    attack: str
    seconds: float
    status: int
    said: str
    errors: str


def attack(
    host: LabHost, programs: dict[str, bytes], paths: list[tuple[str, str]], places: list[str], raced: list[str]
) -> list[Outcome]:
    """Run programs, each under every attack on its paths, then all while the user swaps `raced` all the time.

    `places` are brought back before each attack.
    """
    wanted: dict[str, Any] = {"paths": paths, "places": places, "attacks": ATTACKS, "secret": SECRET, "trap": TRAP}
    wanted |= {"entries": 3000, "rounds": 4, "racer": _RACER % ((raced, SECRET),)}
    for name, text in programs.items():
        write(host, f"/var/tmp/programs/{name}", text.decode())
    for place in places:
        kept = f"/var/tmp/pristine{place}"
        host.run(f"mkdir -p {kept}; rmdir {kept}; cp -a {place} {kept}")
    write(host, _DRIVER, _PROGRAM)
    write(host, "/var/tmp/wanted.json", json.dumps(wanted))
    return [Outcome(**one) for one in json.loads(host.run(f"/usr/bin/python3.11 {_DRIVER}"))]
