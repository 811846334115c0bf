"""A trained model for others: an OpenAI-compatible server (api, vllm) and a page to try it on (asking, page)."""
