"""Marked secrets, wherever a caller or an inventory can put one, are found nowhere, however a takeover ends.

The test searches during the takeover and afterwards, in every process of this machine and of the hosts. It also
searches every row, file, log, document, response, page, stream and span, and the files of the hosts.
"""

import base64
import io
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from psycopg import sql

from service.cli.client import Client
from service.cli.tables import in_dag_order
from service.cli.transport import Document
from service.pages.confirmation import CONFIRMED
from service.runs.directories import PREFIX
from tests import memory, vault
from tests.integration.signed_requests import Signing

from . import HostSpec, Lab, LabHost
from .chaos.ground import Ground
from .chaos.holds import Holds
from .chaos.matrix import Subject
from .collector import Collector, collecting
from .inventory import SYS_PASSWORD
from .planted import PAUSE, Searcher, Watcher, plant
from .tunnel import admin

HELD_AT = "sync_obproxy_parameter"
LIMIT = 3  # seconds, of a subtask that is to time out
DEADLINE = 120.0  # seconds in which all processes are looked at once, on whatever machine
ENDINGS = ("succeeds", "fails", "times out", "is cancelled", "crashes")
# Directories without the files of this test and of the OBProxy.
ON_HOST = ("/etc", "/home", "/root", "/run", "/tmp", "/var/lib", "/var/log", "/var/tmp", "/dev/shm")

# The subtask of one host's next task instance has little time.
HURRY = """
CREATE FUNCTION hurry() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.role = {role} AND {host} = (SELECT host_id FROM task_instance WHERE id = NEW.task_instance_id)
        THEN NEW.timeout = {limit};
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER hurry BEFORE INSERT ON subtask_instance FOR EACH ROW EXECUTE FUNCTION hurry()
"""

_numbers = iter(range(8000, 10**6))


@dataclass(frozen=True, kw_only=True)
class Plants:
    """Every secret there is."""

    proxysys: str  # root@proxysys's, given in the request
    cluster: str  # the cluster's, encrypted as a value
    proxyro: str  # in a file that is encrypted as a whole
    become: str  # of the login user
    token: str  # some other secret of the inventory, encrypted under a name that does not say so
    vault: str  # opens both
    user: str  # anne's password
    access_key: str  # the secret of anne's access key
    secret_key: str  # encrypts in the database
    ssh_key: str  # a line of the private key

    def searcher(self) -> Searcher:
        return Searcher(**vars(self))


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The service with all secrets planted."""

    lab: Lab
    ground: Ground
    holds: Holds
    plants: Plants
    searcher: Searcher
    watcher: Watcher
    collector: Collector
    directory: Path
    key_id: str


def write_inventory(inventory: Path, plants: dict[str, str]) -> None:
    variables = inventory / "group_vars" / "test"
    variables.mkdir(parents=True)
    cluster = vault.encrypted_value(plants["vault"], "obproxy_sys_password", plants["cluster"])
    token = vault.encrypted_value(plants["vault"], "site_contact", plants["token"])
    (variables / "main.yml").write_text(f"{cluster}\n{token}\nansible_become_password: {plants['become']!r}\n")
    whole = vault.encrypted(plants["vault"], f"obproxy_proxyro_password: {plants['proxyro']!r}\n")
    (variables / "vault.yml").write_text(whole)


def a_user_with_a_key(ground: Ground, password: str) -> tuple[str, str]:
    """Anne's access key: id and secret. Both commands as an administrator gives them."""
    program = [sys.executable, "-m", "service"]
    environment = ground.api.environment
    for command in (["user", "add", "anne", "--role", "ADMIN"], ["accesskey", "create", "anne"]):
        done = subprocess.run(
            [*program, *command], env=environment, input=password + "\n", check=True, capture_output=True, text=True
        )
    key, secret = (line.partition(": ")[2] for line in done.stdout.splitlines())
    return key, secret


@pytest.fixture(scope="module")
def anchor(lab: Lab) -> Iterator[LabHost]:
    """As long as it runs, the lab's network and key are there."""
    number = next(_numbers)
    (host,) = lab.start_many([HostSpec(f"planted-{number}", number)])
    yield host
    host.remove()


@pytest.fixture(scope="module")
def scene(lab: Lab, anchor: LabHost) -> Iterator[Scene]:
    planted = {name: plant(name) for name in ("proxysys", "cluster", "proxyro", "become", "token", "vault", "user")}
    planted["secret_key"] = urlsafe_b64encode(secrets.token_bytes(32)).decode()
    key_file = (lab.directory / "ssh-key").read_text().splitlines()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="planted-")))
        temporary = directory / "tmp"
        temporary.mkdir()
        collector = stack.enter_context(collecting())
        holds = Holds(directory, lab.inventory)
        password_file = lab.directory / "vault-password"  # not where is looked for leaks
        password_file.write_text(planted["vault"])
        write_inventory(holds.inventory, planted)
        ground = Ground(
            directory / "service",
            holds.inventory,
            secret_key=planted["secret_key"],
            vault_password_file=str(password_file),
            log_level="debug",
            otel_endpoint=collector.url,
        )
        for part in (ground.api, *ground.workers):
            part.environment["TMPDIR"] = str(temporary)
        stack.enter_context(ground)
        key_id, planted["access_key"] = a_user_with_a_key(ground, planted["user"])
        plants = Plants(**planted, ssh_key=key_file[len(key_file) // 2])
        searcher = plants.searcher()
        watcher = stack.enter_context(Watcher(searcher, own=pids_of(ground)))
        yield Scene(
            lab=lab, ground=ground, holds=holds, plants=plants, searcher=searcher, watcher=watcher,
            collector=collector, directory=directory, key_id=key_id,
        )  # fmt: skip


def pids_of(ground: Ground) -> set[int]:
    """Return the processes with the key of the database in their environment on purpose."""
    return {ground.api.pid, *(worker.pid for worker in ground.workers)}


@pytest.fixture
def client(scene: Scene) -> Iterator[Client]:
    with Client(scene.ground.url, scene.plants.user, user="anne") as opened:
        yield opened


@dataclass(kw_only=True)
class Takeover(Subject):
    """One with a password of the caller's."""

    password: str

    def submit(self) -> None:
        self.holds.prepare(self.host)
        if self.moment != "succeeds":
            self.holds.at(self.host, HELD_AT)
        asked = {"hostId": self.host.host_id, "sqlPort": self.host.sql_port, "proxysysPasswd": self.password}
        self.task_id = self.client.take_over(1, [asked])[0]["id"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_none_is_found_when_a_takeover(ending: str, scene: Scene, client: Client) -> None:
    number = next(_numbers)
    (host,) = scene.lab.start_many([HostSpec(f"planted-{number}", number)])
    try:
        set_password(scene, host)
        takeover = Takeover(
            host=host,
            moment=ending,
            ground=scene.ground,
            holds=scene.holds,
            client=client,
            password=scene.plants.proxysys,
        )
        document = bring_about(ending, takeover, scene)
        seen = [client.log(takeover.task_id, s["id"]) for s in in_dag_order(document["subtasks"])]
        answers = [*all_answers(scene, client, takeover, host), *pages_and_stream(scene, takeover)]

        assert document["status"] == ("SUCCESSFUL" if ending == "succeeds" else "FAILED"), "\n".join(seen)
        assert not [text for text in (*seen, *answers) if scene.searcher.find(text.encode())]
        check_everywhere(scene, host)
    finally:
        host.remove()


def test_a_worker_never_has_a_secret_of_the_caller_in_its_memory(scene: Scene, client: Client) -> None:
    """Nor has the server that runs are forked from; the run has."""
    number = next(_numbers)
    (host,) = scene.lab.start_many([HostSpec(f"planted-{number}", number)])
    (worker,) = (psutil.Process(part.pid) for part in scene.ground.workers)
    try:
        set_password(scene, host)
        takeover = Takeover(
            host=host,
            moment="fails",
            ground=scene.ground,
            holds=scene.holds,
            client=client,
            password=scene.plants.proxysys,
        )
        takeover.submit()
        takeover.wait_for_running(HELD_AT)
        meanwhile = [scene.searcher.in_memory(process.pid) for process in (worker, *worker.children())]
        of_runs = [scene.searcher.in_memory(process.pid) for process in runs_of(worker)]
        takeover.host.simulate(refuse=["observer_sys_password"])
        takeover.let_go()
        document = takeover.wait_for_end()
        afterwards = [scene.searcher.in_memory(process.pid) for process in (worker, *worker.children())]
        of_holders = [scene.searcher.in_memory(process.pid) for process in runs_of(worker)]

        assert document["status"] == "FAILED"
        assert any("proxysys" in found for found in of_runs), "it would be found"
        assert any("cluster" in found for found in of_holders), "the process that has read the inventory keeps it"
        assert not [found for found in (*meanwhile, *afterwards) if {"proxysys", "cluster"} & set(found)]
        assert not [found for found in of_holders if "proxysys" in found], "a caller's secret is in runs only"
    finally:
        host.remove()


def runs_of(worker: psutil.Process) -> list[psutil.Process]:
    """Return the processes forked from the worker's fork server: the inventory's, and runs."""
    return [process for server in worker.children() for process in server.children(recursive=True)]


def set_password(scene: Scene, host: LabHost) -> None:
    with admin(scene.lab, host, SYS_PASSWORD) as connection, connection.cursor() as cursor:
        cursor.execute(f"alter proxyconfig set obproxy_sys_password = '{scene.plants.proxysys}'")


def bring_about(ending: str, takeover: Takeover, scene: Scene) -> Document:
    """Return the document of a takeover that has ended so."""
    if ending == "times out":
        limit_subtasks(scene, takeover.host)
    takeover.submit()
    if ending != "succeeds":
        takeover.wait_for_running(HELD_AT)
    if ending == "fails":
        takeover.host.simulate(refuse=["observer_sys_password"])  # the statement that carries a password is rejected
        takeover.let_go()
    elif ending == "is cancelled":
        takeover.cancel()
    elif ending == "crashes":
        (worker,) = scene.ground.workers
        killed = worker.pid
        worker.kill()
        worker.start()
        scene.watcher.own |= pids_of(scene.ground)
        document = takeover.wait_for_end()
        assert not list(Path("/dev/shm").glob(f"{PREFIX}{killed}-*"))
        return document
    return takeover.wait_for_end()


def limit_subtasks(scene: Scene, host: LabHost) -> None:
    with psycopg.connect(scene.ground.postgres.url) as connection:
        values = {"host": host.host_id, "role": HELD_AT, "limit": LIMIT}
        connection.execute(sql.SQL(HURRY).format(**{name: sql.Literal(value) for name, value in values.items()}))


def all_answers(scene: Scene, client: Client, takeover: Takeover, host: LabHost) -> list[str]:
    """Return the API's answers about it, and those to rejected requests with a secret in them."""
    asked = {"hostId": host.host_id, "sqlPort": host.sql_port, "proxysysPasswd": scene.plants.proxysys}
    instance = f"/api/v2/tasks/instances/{takeover.task_id}"
    path = "/api/v2/obproxy/clusters/1/takeOver"
    bad: list[object] = [
        {"hosts": [{**asked, "sqlPort": 0}]},
        {"hosts": [{**asked, "hostId": 10**9}, {**asked, "hostId": 10**9 + 1}]},
        {"hosts": [{**asked, "proxysysPasswd": [scene.plants.proxysys]}]},
        {"hosts": [asked, asked]},
    ]
    with httpx.Client(base_url=scene.ground.url, auth=("anne", scene.plants.user), timeout=60) as http:
        found = [http.get(place) for place in (instance, "/api/v2/tasks/instances", "/api/v2/audit/events")]
        found += [http.post(path, json=body) for body in bad]
        found.append(
            http.post(
                path, content=f'{{"hosts": "{scene.plants.proxysys}', headers={"Content-Type": "application/json"}
            )
        )
        found.append(http.get("/api/v2/info", auth=("anne", scene.plants.user + "x")))
        found.append(http.get(f"{instance}/subtasks/x/log"))
        packed = http.post(f"{instance}/downloadDiagnosis")
        found.append(signed(scene, http, "/api/v2/tasks/instances"))
    assert [answer.status_code for answer in found[:3]] == [200] * 3
    assert all(answer.status_code in (400, 401, 404) for answer in found[3:-1]), [answer.text for answer in found]
    assert found[-1].status_code == 200, found[-1].text
    with zipfile.ZipFile(io.BytesIO(packed.content)) as file:
        return [*(answer.text for answer in found), *(file.read(name).decode() for name in file.namelist())]


def pages_and_stream(scene: Scene, takeover: Takeover) -> list[str]:
    """Return its pages, a page that rejects a form with the password, and its event stream from the beginning."""
    number = takeover.host.host_id
    form = {
        CONFIRMED: "yes",
        f"host-{number}": "on",
        f"port-{number}": "0",
        f"password-{number}": scene.plants.proxysys,
    }
    paths = (f"/tasks/{takeover.task_id}", "/tasks", "/audit", "/clusters/1", "/clusters/1/takeover")
    told: list[str] = []
    with httpx.Client(
        base_url=scene.ground.url, auth=("anne", scene.plants.user), timeout=60, headers={"Accept": "text/html"}
    ) as http:
        pages = [http.get(path) for path in paths]
        refused = http.post("/clusters/1/takeover", data=form)
        stream = http.stream("GET", f"/api/v2/tasks/instances/{takeover.task_id}/events?after=0", timeout=10)
        with suppress(httpx.ReadTimeout), stream as answer:
            for text in answer.iter_text():
                told.append(text)
    assert [page.status_code for page in pages] == [200] * len(paths)
    assert refused.status_code == 400 and "sqlPort" in refused.text
    assert "event: log" in "".join(told)
    return [*(page.text for page in (*pages, refused)), "".join(told)]


def signed(scene: Scene, http: httpx.Client, path: str) -> httpx.Response:
    return http.get(path, auth=Signing(scene.key_id, scene.plants.access_key))


def check_everywhere(scene: Scene, host: LabHost) -> None:
    """Every process so far, every row, every file of the service and of Ansible, the host."""
    rows, count = scene.searcher.in_database(scene.ground.postgres.url)
    assert not rows and count > 50
    assert not scene.watcher.found
    assert scene.watcher.rounds > 10, "it was looked for"
    places = [scene.directory, Path("/dev/shm"), Path.home() / ".ansible"]
    # The inventory is the operator's. PostgreSQL's files hold what its rows do. Other tests have databases in memory.
    others = (path.name for path in Path("/dev/shm").glob(f"{memory.PREFIX}*"))
    assert not scene.searcher.within(*places, leaving_out=("inventory", "holds", *others))
    pids = [worker.pid for worker in scene.ground.workers]
    assert not [left for pid in pids for left in Path("/dev/shm").glob(f"{PREFIX}{pid}-*")], "a run's directory stays"
    assert not on_host(scene, host)
    deadline = time.monotonic() + DEADLINE
    while not scene.collector.spans and time.monotonic() < deadline:
        time.sleep(PAUSE)
    assert scene.collector.spans
    assert not [body for body in scene.collector.bodies if scene.searcher.find(body)]


def on_host(scene: Scene, host: LabHost) -> set[str]:
    """Return what is found in the host's files, except in its processes' memory and the takeover's own files."""
    left_out = "--exclude=/etc/ssh --exclude=lab.service"  # the unit of hosts with systemd names lab-boot
    archive = host.run(f"tar --create --ignore-failed-read {left_out} {' '.join(ON_HOST)} 2>/dev/null | base64")
    content = base64.b64decode(archive)
    assert b"/lab-boot" not in content and len(content) > 100_000
    return scene.searcher.find(content)


def test_a_planted_secret_is_found(scene: Scene, anchor: LabHost, tmp_path: Path) -> None:
    """Or else finding nothing would mean nothing."""
    secret = plant("control")
    searcher = Searcher(control=secret)
    (tmp_path / "file").write_text(json.dumps({"x": secret}))
    anchor.run(f"echo '{secret}' > /tmp/control")
    with psycopg.connect(scene.ground.postgres.url) as connection:
        connection.execute("CREATE TABLE control AS SELECT %s::bytea AS x", (secret.encode(),))

    shown = (
        subprocess.Popen(["sh", "-c", "sleep 600", secret]),
        subprocess.Popen(["sleep", "600"], env={**os.environ, "X": secret}),
    )
    deadline = time.monotonic() + DEADLINE
    with Watcher(searcher) as watcher:
        while len(watcher.found) < len(shown) and time.monotonic() < deadline:
            time.sleep(PAUSE)
    for process in shown:
        process.kill()
        process.wait()

    with psycopg.connect(scene.ground.postgres.url) as connection:
        rows, _ = searcher.in_database(scene.ground.postgres.url)
        connection.execute("DROP TABLE control")
    assert {place.partition(" of ")[0] for place in watcher.found} == {"command line", "environment"}
    assert len(rows) == 1 and searcher.within(tmp_path) and on_host(replace(scene, searcher=searcher), anchor)
