"""The wall's status over HTTP, for technicians and monitoring: a page, /healthz and /metrics."""
