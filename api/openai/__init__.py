"""OpenAI's Images API at `/openai/v1`: a translation to requests of text-to-image models."""
