"""`python -m tests.bench.soak_worker worker`: `service worker`, but a run on a host that there is not is a stand-in.

Imports nothing by itself: the processes of runs import it again (multiprocessing does that).
"""


def main() -> None:
    """Run the command line."""
    from service.cli.main import run as command_line
    from service.inventory.snapshot import InventorySnapshot
    from service.runs import run
    from service.runs.run import Run
    from service.runs.spec import RunSpec

    from .soak_load import STAND_IN
    from .stand_in import StandIn

    begin = run.start

    def start(spec: RunSpec, snapshot: InventorySnapshot) -> Run | StandIn:
        return (StandIn if spec.inputs.host.name.startswith(STAND_IN) else begin)(spec, snapshot)

    run.start = start  # type: ignore[assignment]
    command_line()


if __name__ == "__main__":
    main()
