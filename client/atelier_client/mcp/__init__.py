"""`atelier-mcp`: the service as tools and resources of the Model Context Protocol; needs the extra `mcp`."""
