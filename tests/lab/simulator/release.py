"""The simulated version of OBProxy: all differences between the versions.

See docs/reference/obproxy.md 0, 2.5, 4.2, 4.3.
"""

from dataclasses import dataclass

BUILD_TIME = "Jan 01 2024 00:00:00"

# Items of the 4.3.1 set that 3.2.3, the oldest version whose source is known, does not have.
_NOT_IN_LEGACY = (
    "rpc_",
    "enable_obproxy_rpc_service",
    "client_session_id_version",
    "server_detect_",
    "connection_diagnosis_option",
    "read_stale_",
    "ob_max_read_stale_time",
    "enable_session_info_verification",
    "enable_read_write_split",
    "enable_transaction_split",
    "obproxy_read_",
    "obproxy_force_parallel_query_dop",
    "enable_global_ps_cache",
    "binlog_service_ip",
    "init_sql",
    "inspector_password",
    "local_bound_ipv6_ip",
    "ip_listen_mode",
    "protocol_diagnosis_level",
    "route_diagnosis_level",
    "username_separator",
    "max_syslog_file_time",
    "enable_syslog_file_compress",
)
_LEGACY_DEFAULTS = {
    "obproxy_sys_password": "",
    "observer_sys_password": "",
    "observer_sys_password1": "",
    "skip_proxy_sys_private_check": "True",
    "enable_strict_kernel_release": "True",
    "syslog_level": "INFO",
}
_LEGACY_RANGES = {"proxy_id": "[0,255]", "proxy_local_cmd": "[0,2]"}


@dataclass(frozen=True, kw_only=True)
class Release:
    version: str  # "4.3.1.0"
    build: str  # "1.el7": the RPM's release

    @property
    def legacy(self) -> bool:
        """Everything before 4.0 behaves like 3.2.3 here; nothing is known of 1.x beyond that."""
        return int(self.version.split(".")[0]) < 4

    @property
    def store_name(self) -> str:
        return "proxyconfig.db" if self.legacy else "proxyconfig_v1.db"

    @property
    def config_columns(self) -> int:
        """The number of columns of SHOW PROXYCONFIG."""
        return 5 if self.legacy else 7

    @property
    def has_rpc_service(self) -> bool:
        return not self.legacy

    @property
    def writes_reboot_line(self) -> bool:
        """log/obproxy_diagnosis.log has the end of a start, since 4.2.3."""
        return not self.legacy

    def knows(self, name: str) -> bool:
        return not (self.legacy and name.startswith(_NOT_IN_LEGACY))

    def default(self, name: str, default: str) -> str:
        return _LEGACY_DEFAULTS.get(name, default) if self.legacy else default

    def range(self, name: str, bounds: str) -> str:
        return _LEGACY_RANGES.get(name, bounds) if self.legacy else bounds

    @property
    def version_text(self) -> str:
        """The output of -V on stderr."""
        flags = f"REVISION:1-simulated\nBUILD_TIME:{BUILD_TIME}\nBUILD_FLAGS:simulated"
        return f"obproxy (OceanBase {self.version} {self.build})\n{flags}\n"

    @property
    def binary_info(self) -> str:
        """The result of SHOW PROXYINFO BINARY."""
        return (
            f"ObProxy-OceanBase {self.version}-{self.build}\nversion:RELEASE_UNKNOWN\nMD5:\n"
            f"REVISION:1-simulated\nBUILD_TIME:{BUILD_TIME}\nBUILD_FLAGS:simulated"
        )
