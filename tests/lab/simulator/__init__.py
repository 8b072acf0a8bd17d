"""A simulated OBProxy: the admin interface, process and file behaviour of the real one, without its routing.

Written from observation (docs/reference/obproxy-observed.md) and from reading the original (docs/reference/obproxy.md).
It runs on the Python of the host it is installed on, so it uses the standard library of Python 3.11 only, and no
threads.
"""
