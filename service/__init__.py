"""Takes running OBProxy processes over into a managed OBProxy cluster."""

__version__ = "0.1.0"
