"""Entry point of `python -m service` and `obproxy-takeover`.

It imports nothing at module level, because multiprocessing imports it again in the processes of runs.
"""


def main() -> None:
    """Run the command line."""
    from service.cli.main import run

    run()


if __name__ == "__main__":
    main()
