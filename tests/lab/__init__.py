"""Real hosts to take over: containers with sshd, sudo, rpm and a simulated OBProxy in a named state."""

from .errors import LabError
from .host import HostSpec, LabHost
from .lab import Lab

__all__ = ["HostSpec", "Lab", "LabError", "LabHost"]
