"""`python -m gateway.cli` is `ecg-gateway`."""

from gateway.cli import main

main()
