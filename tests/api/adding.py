"""The real worker; what it downloads comes from a server of the tests, at ATELIER_TEST_FILES: port and authority."""

import os
import ssl

from tests.file_server import network
from tests.integration import kinds
from worker.runners import added_model

app = kinds.app
port, authority = os.environ["ATELIER_TEST_FILES"].split(",", 1)
added_model.NETWORK = network(int(port), ssl.create_default_context(cadata=authority))
