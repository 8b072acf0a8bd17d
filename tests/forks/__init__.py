"""Programs in forks of a process that has imported what they import, which is most of their CPU time."""
