"""`python -m api`: serve the API at the address the settings name."""

import sys

from api.server import serve

serve(*sys.argv[1:])
