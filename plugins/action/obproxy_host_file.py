"""Action plugin obproxy_host_file: one small file on the host, in one light round trip."""

from typing import Any, ClassVar

from ansible_collections.obproxy.takeover.plugins.module_utils.action import HostAction, Result


class ActionModule(HostAction):
    OPTIONS: ClassVar[dict[str, Any]] = {
        "path": {"type": "path", "required": True},
        "content": {"type": "str"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "mode": {"type": "str", "default": "0644"},
        "directory_mode": {"type": "str", "default": "0755"},
        "replace": {"type": "bool", "default": True},
        "keep": {"type": "bool", "default": False},
        "signature": {"type": "str", "default": ""},
        "prune": {"type": "list", "elements": "path", "default": []},
        "as_obproxy_user": {"type": "bool", "default": False},
        "commands": {"type": "list", "elements": "list", "default": []},
        "rule": {"type": "str", "default": "The file can be brought to its wanted state"},
        "obproxy_server": {"type": "dict"},
    }

    def act(self, arguments: dict[str, Any]) -> Result:
        file = {key: arguments[key] for key in ("path", "mode", "directory_mode", "replace", "keep", "signature")}
        file["text"] = (arguments["content"] or "") if arguments["state"] == "present" else None
        options = {key: arguments[key] for key in ("commands", "prune")}
        if arguments["as_obproxy_user"]:
            options |= self.obproxy_user()
        result = self.converge(arguments["rule"], [file], **options)
        if arguments["obproxy_server"] is not None:
            result["obproxy_server"] = arguments["obproxy_server"]
        return result
