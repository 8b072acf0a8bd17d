"""The command line of an OBProxy (docs/reference/obproxy.md 2.1, 2.2, 2.3)."""

import getopt
from dataclasses import dataclass, field

USAGE = """obproxy [options] (simulated)
  -h,--help                      print this help
  -p,--listen_port         LPORT obproxy listen port, 1024 < LPORT < 65536
  -l,--prometheus_listen_port PORT
  -s,--rpc_listen_port     PORT
  -o,--optstr              OPTION_STR  name=value,name=value
  -n,--appname             APPNAME
  -r,--rs_list             RS_LIST     ip:sql_port;ip:sql_port
  -c,--cluster_name        CLUSTER
  -N,--nodaemon
  -V,--version
  -R,--releaseid
"""

_PARAMETERS = {
    "p": "listen_port",
    "l": "prometheus_listen_port",
    "s": "rpc_listen_port",
    "n": "app_name",
    "r": "rootservice_list",
    "c": "rootservice_cluster_name",
}
_LONG = {
    "help": "h",
    "listen_port": "p",
    "prometheus_listen_port": "l",
    "rpc_listen_port": "s",
    "optstr": "o",
    "appname": "n",
    "rs_list": "r",
    "cluster_name": "c",
    "nodaemon": "N",
    "version": "V",
    "releaseid": "R",
    "dump_config_sql": "d",
    "execute_config_sql": "e",
    "upgrade_ver": "u",
    "regression_test": "t",
}
_WITH_ARGUMENT = "plsonrcu"
_PORTS = "pls"


class BadOption(Exception):
    """An option is unknown or a port is no port: usage is printed, nothing is started, the exit status is 0."""


@dataclass(kw_only=True)
class Options:
    """parameters are those of single options, then those of -o, which win; echo is what goes to stderr."""

    parameters: dict[str, str] = field(default_factory=dict)
    optstr: str = ""
    nodaemon: bool = False
    action: str = "run"  # or help, version, releaseid
    echo: list[str] = field(default_factory=list)

    @property
    def all_parameters(self) -> dict[str, str]:
        return self.parameters | parse_optstr(self.optstr)


def parse(arguments: list[str]) -> Options:
    """Parse the options. Raise BadOption."""
    long = [f"{name}=" if short in _WITH_ARGUMENT else name for name, short in _LONG.items()]
    try:
        pairs, _ = getopt.gnu_getopt(arguments, "hp:l:s:o:n:r:c:NVRdeu:t", long)
    except getopt.GetoptError as error:
        raise BadOption(str(error)) from error
    options = Options()
    for flag, value in pairs:
        letter = _LONG[flag[2:]] if flag.startswith("--") else flag[1:]
        _apply(options, letter, value)
    return options


def _apply(options: Options, letter: str, value: str) -> None:
    if letter in _PORTS and not (value.isdecimal() and 1024 < int(value) < 65536):
        raise BadOption(f"invalid port: {value}")
    if letter in _PARAMETERS:
        options.parameters[_PARAMETERS[letter]] = value
        options.echo.append(f"{_PARAMETERS[letter].replace('_', ' ')}: {value}")
    elif letter == "o":
        options.optstr = value
        options.echo.append(f"optstr: {value}")
    elif letter == "N":
        options.nodaemon = True
    elif letter in "hVR":
        options.action = {"h": "help", "V": "version", "R": "releaseid"}[letter]


def parse_optstr(text: str) -> dict[str, str]:
    """Split at commas and newlines; a name ends at the first "="; what has none is skipped; nothing is unquoted."""
    pairs = (item.partition("=") for item in text.replace("\n", ",").split(","))
    return {name.strip(): value for name, separator, value in pairs if separator}
