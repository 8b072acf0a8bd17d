"""Start and end of the process: daemon, configuration, ports, signals (docs/reference/obproxy.md 2.3 to 2.6).

The exit status is always 0, because the real one ends with _exit(0). The log has the error.
"""

import itertools
import json
import os
import signal
import sys
import time
from pathlib import Path

from . import hot_restart
from . import options as command_line
from .logs import Log
from .loop import Loop
from .options import Options
from .parameters import PASSWORDS, InvalidValue, Settings
from .proxy import Proxy
from .release import Release
from .service import Service
from .simulation import Simulation
from .store import Store, StoreError

_DIRECTORIES = ("etc", "log", ".conf", "control-config", "sharding-config")
_BOTH = "3"  # ip_listen_mode: IPv4 and IPv6
_BIND_PATIENCE = 1.5  # how long a second instance was seen to live


class StartError(Exception):
    """The start cannot go on; the message goes to the log."""


def main(arguments: list[str], release: Release | None = None) -> int:
    """Run the process from start to end. Return the exit status."""
    release = release or _installed_release()
    try:
        options = command_line.parse(arguments[1:])
    except command_line.BadOption as error:
        sys.stderr.write(f"{error}\n{command_line.USAGE}")
        return 0
    sys.stderr.write("".join(f"{line}\n" for line in options.echo))
    if options.action != "run":
        return _print(options.action, release)
    if not options.nodaemon and not hot_restart.is_successor():
        if os.fork():
            return 0
        _detach()
    return _serve(options, arguments, release)


def _print(action: str, release: Release) -> int:
    if action == "releaseid":
        sys.stdout.write(f"{release.build}.\n")
    else:
        sys.stderr.write(release.version_text if action == "version" else command_line.USAGE)
    return 0


def _installed_release() -> Release:
    path = Path(__file__).parent / "release.json"
    return Release(**json.loads(path.read_text(encoding="utf-8")))


def _detach() -> None:
    """Like daemon(1, 0): a session of its own, no standard streams, the current directory is kept."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


def _home() -> Path:
    root = os.environ.get("OBPROXY_ROOT", "")
    return Path(root) if root.startswith("/") else Path.cwd()


def _serve(options: Options, arguments: list[str], release: Release) -> int:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    home = _home()
    try:
        for name in _DIRECTORIES:
            (home / name).mkdir(exist_ok=True)
        log = Log(home / "log", release)
    except OSError as error:
        # As a daemon this leaves no trace at all.
        sys.stderr.write(f"cannot create the directories: {error}\n")
        return 0
    simulation = Simulation()
    time.sleep(simulation.seconds("start_delay"))
    loop = Loop()
    try:
        proxy = _prepare(home, options, arguments, release, simulation)
        service = Service(loop, proxy, log)
        _bind(service)
    except (StartError, StoreError, OSError) as error:
        log.start_failed(str(error))
        return 0
    log.started()
    hot_restart.report_ready()
    stopped_by_signal = service.run()
    return 1 if options.nodaemon and stopped_by_signal else 0


def _prepare(home: Path, options: Options, arguments: list[str], release: Release, simulation: Simulation) -> Proxy:
    """Defaults, over them what is stored, over that the command line; the result is stored. Raises StartError."""
    settings = Settings(release)
    store = Store(home / "etc" / release.store_name)
    store.begin_exclusive()
    for name, value in store.load().items():
        if settings.knows(name) and settings.definitions[name].visible_level != "MEMORY":
            settings.put_unchecked(name, value)
    _apply_options(settings, options)
    # A start that ends with -4147 stores nothing; an error that is found later is stored already.
    _require_route(settings)
    if fatal := [definition.name for definition, value in settings if simulation.is_fatal(definition.name, value)]:
        raise StartError(f"fail to start with {', '.join(fatal)} ret=-4147")
    store.save(settings.stored())
    store.commit()
    _check(settings, options)
    settings.put_unchecked("json_config_modified_time", time.strftime("%Y-%m-%d %H:%M:%S.000000"))
    return Proxy(
        release=release,
        home=home,
        settings=settings,
        store=store,
        simulation=simulation,
        arguments=arguments,
        pid=os.getpid(),
        effective=settings.stored(),
    )


def _apply_options(settings: Settings, options: Options) -> None:
    for name, value in options.all_parameters.items():
        if not settings.knows(name):
            continue
        try:
            settings.put(name, value)
        except InvalidValue as error:
            raise StartError(f"fail to init local config, {name}={value} ret=-4147") from error
    for name in PASSWORDS[1:]:
        # Raw, that is already hashed (docs/reference/obproxy.md 2.4).
        if os.environ.get(name):
            settings.put_unchecked(name, os.environ[name])


def _require_route(settings: Settings) -> None:
    """Check that the start knows the observers: by a list of ip:sql_port, or by a config server."""
    if not settings["rootservice_list"] and not settings["obproxy_config_server_url"]:
        raise StartError("neither rootservice_list nor obproxy_config_server_url ret=-4147")


def _check(settings: Settings, options: Options) -> None:
    """Return the error in the stored configuration, or in the command line's."""
    if options.parameters.get("rootservice_cluster_name") == "":
        raise StartError("empty cluster name ret=-4002")
    if hot_restart.is_successor() and settings.stored().get("ip_listen_mode") == _BOTH:
        raise StartError("fail to take over the listening sockets of ip_listen_mode 3 ret=-4002")
    for address in filter(None, settings["rootservice_list"].split(";")):
        host, _, port = address.partition(":")
        if not host or not port.isdecimal():
            raise StartError(f"bad address in rootservice_list: {address} ret=-4002")
    if not _has_own_address():
        raise StartError("fail to get local addr list ret=-4016")


def _has_own_address() -> bool:
    """Return whether the host has an IPv4 address other than loopback ones, without which no OBProxy starts."""
    lines = Path("/proc/net/fib_trie").read_text(encoding="ascii").splitlines()
    return any(
        "host LOCAL" in entry and not address.strip().startswith("|-- 127.")
        for address, entry in itertools.pairwise(lines)
    )


def _bind(service: Service) -> None:
    """Open the ports. Raise StartError when the SQL or the RPC port stays taken."""
    deadline = time.monotonic() + _BIND_PATIENCE
    while True:
        try:
            service.bind()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise StartError(f"fail to listen, {error}") from error
            time.sleep(0.1)


def run() -> None:
    """Run the simulator as bin/obproxy does."""
    status = main(sys.argv)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
