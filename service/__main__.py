"""`python -m service`, and `obproxy-takeover`. Imports nothing by itself: the processes of runs import it again
(multiprocessing does that)."""


def main() -> None:
    """Run the command line."""
    from service.cli.main import run

    run()


if __name__ == "__main__":
    main()
