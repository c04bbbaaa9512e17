"""The parameters of each kind of job, which know what the rest of the service asks of them."""
