"""Demonstrates a takeover: three lab hosts, the service, one takeOver request, twelve subtasks filling live.

Run by `make demo`. Ends with Ctrl-C, or by itself without a terminal; no process keeps running.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from . import HostSpec, Lab, LabError
from .service import Service, running

DIRECTORY = Path(".lab/demo")
HOSTS = [HostSpec(f"odp-{number}", number, "running", "4.3.1.0-1", 2883, "") for number in (1, 2, 3)]
CLUSTER = 1
SHOWN_LINES = 40  # of an answer


def main() -> int:
    """Run the demonstration; return 0 if every takeover succeeded."""
    for ended in (signal.SIGTERM, signal.SIGHUP):  # killed, or its terminal was closed
        signal.signal(ended, lambda number, _: sys.exit(128 + number))
    lab = Lab(DIRECTORY)
    lab.close()  # what a demo that was killed has left
    with contextlib.closing(lab):
        print_headline(f"Starting {len(HOSTS)} lab hosts, each with a simulated OBProxy")
        for host in lab.start_many(HOSTS):
            print(f"    {host.name}  hostId {host.host_id}  {host.address}:{host.sql_port}  {host.version}")
        print_headline("Starting the service with its embedded PostgreSQL")
        with running(DIRECTORY, lab.inventory, port=8080) as service:
            print(f"    {service.url}  log in {service.log}")
            print_headline("Asking for the takeover, as any caller would")
            tasks = post(service)
            print_headline("Twelve subtasks a host, live")
            options = ["--url", service.url, "--password-file", str(service.password_file)]
            watched = subprocess.run([sys.executable, "-m", "service", "watch", *map(str, tasks), *options])
            print_headline(f"The document of task {tasks[0]}, as it is now")
            print_beginning(curl(service, f"/api/v2/tasks/instances/{tasks[0]}"))
            print_headline("Where to look further")
            further(lab, service, tasks[0])
            if sys.stdin.isatty() and sys.stdout.isatty():
                print_headline("Ctrl-C stops the service and removes the hosts")
                signal.pause()
        return watched.returncode


def post(service: Service) -> list[int]:
    """Request the takeover of all hosts, and return the ids of the task instances in the response."""
    body = json.dumps({"hosts": [{"hostId": host.host_id, "sqlPort": host.sql_port} for host in HOSTS]})
    answer = curl(service, f"/api/v2/obproxy/clusters/{CLUSTER}/takeOver", body)
    documents = json.loads(answer)["data"]["contents"]
    print_beginning(answer)
    return [document["id"] for document in documents]


def print_beginning(answer: str) -> None:
    """Print the first lines of an answer: all of them would push everything else off the screen."""
    lines = answer.splitlines()
    print("\n".join([*lines[:SHOWN_LINES], f"    … {len(lines) - SHOWN_LINES} lines more"]))


def curl(service: Service, path: str, body: str = "") -> str:
    """Show a curl command, run it, and give its answer indented. The password goes to it by a file, not by argv."""
    netrc = service.password_file.with_name("netrc")
    netrc.touch(mode=0o600)
    netrc.write_text(f"machine 127.0.0.1 login admin password {service.password}\n")
    command = ["curl", "-sS", "--netrc-file", str(netrc)]
    command += ["-H", "Content-Type: application/json", "-d", body] if body else []
    command.append(service.url + path)
    print(f"    $ {shlex.join(command)}")
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.dumps(json.loads(answer), indent=2, ensure_ascii=False)


def further(lab: Lab, service: Service, task: int) -> None:
    """Print what else there is to try."""
    url, password_file = service.url, service.password_file
    python = os.path.relpath(sys.executable)
    print(f"    the pages                  {url}/  (user admin, password in {password_file})")
    print(f"    the API's description      {url}/docs")
    print(f"    all task instances         {url}/api/v2/tasks/instances")
    print(
        f"    watch one again            {python} -m service watch {task} --url {url} --password-file {password_file}"
    )
    print(f"    log in to a host           {python} -m tests.lab --directory {DIRECTORY} ssh odp-1")
    print(f"    run the playbook yourself  .venv/bin/ansible-playbook -i {os.path.relpath(lab.inventory)}", end=" ")
    print("playbooks/takeover.yml -l odp-1 --check --diff")


def print_headline(what: str) -> None:
    """Print a headline."""
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}==> {what}{plain}", flush=True)


if __name__ == "__main__":
    if not shutil.which("curl"):
        sys.exit("The demo shows its requests with curl, which is not here. On Debian: apt-get install curl")
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print()
        sys.exit(0)
    except LabError as error:
        sys.exit(str(error))
