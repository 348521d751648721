"""How the wall is, for technicians and their machines: a page, /healthz and /metrics."""
