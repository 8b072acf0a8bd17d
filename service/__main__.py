"""`python -m service`. Imports nothing by itself: the processes of runs import it again (multiprocessing does that)."""

if __name__ == "__main__":
    from service.cli import run

    run()
