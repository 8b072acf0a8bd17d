"""Action plugin obproxy_host_file: writes or removes one small file on the host, in one round trip."""

from typing import Any

from ansible_collections.obproxy.takeover.plugins.module_utils.action import HostAction, Result
from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec
from ansible_collections.obproxy.takeover.plugins.modules.obproxy_host_file import DOCUMENTATION


class ActionModule(HostAction):
    OPTIONS = argument_spec(DOCUMENTATION)

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
