"""A stage in several processes: read accelerate's config, start them, watch them, end them."""
