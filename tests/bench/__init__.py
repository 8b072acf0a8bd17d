"""Benchmarks: what this project does beside other ways to do the same work, interleaved in one run (`make bench`)."""
