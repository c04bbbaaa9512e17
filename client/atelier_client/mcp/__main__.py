"""`python -m atelier_client.mcp` is `atelier-mcp`."""

from atelier_client.mcp.server import main

main()
