"""Making parts of a running service die at chosen moments, and looking whether anything was lost."""
