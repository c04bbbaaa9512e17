"""What the API and the workers agree on: schemas, the job store, the object store, settings and errors."""
