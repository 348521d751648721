"""HTTP services: the status page for technicians and the upload page for visitors."""
