"""What keeps a raw row from becoming a problem, beside empty fields and lengths."""
