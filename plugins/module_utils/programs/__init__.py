"""Programs whose source text is sent to the host and run by `python3 -IS -` (see `host_programs.program_text`).

They need Python 3.6 or newer (el7 and el8 hosts) and its standard library. Imports take most of a program's time, so
there are few. Each program prints one line: MARKER and JSON.
"""
