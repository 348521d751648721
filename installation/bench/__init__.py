"""How long things take, beside the plain way and beside what bytes and operations allow."""
