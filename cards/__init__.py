"""Cards of models as operators write them: one schema for the files of workers and the requests of the API."""
