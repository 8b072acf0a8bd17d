"""What the takeover's action plugins share. Everything here runs on the controller, except `probe.py` and
`converge.py`, whose source text is sent to the host and run there.
"""
