"""Programs whose source text is sent to the host and run there by `python3 -IS -` (see `remote.program`).

Standard library only, Python 3.6 or newer (what el7 and el8 hosts have), as few imports as possible: they are most of
the time such a program takes. Each prints one line, MARKER and JSON.
"""
