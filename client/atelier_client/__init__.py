"""A client of Atelier: `from atelier_client import Atelier`."""

from atelier_client import errors as errors
from atelier_client._async.client import AsyncAtelier as AsyncAtelier
from atelier_client._async.collection import AsyncCollection as AsyncCollection
from atelier_client._async.job import AsyncJob as AsyncJob
from atelier_client._async.job import AsyncOutput as AsyncOutput
from atelier_client._sync.client import Atelier as Atelier
from atelier_client._sync.collection import Collection as Collection
from atelier_client._sync.job import Job as Job
from atelier_client._sync.job import Output as Output
from atelier_client.errors import AtelierError as AtelierError
from atelier_client.events import Event as Event
