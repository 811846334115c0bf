"""Where raw data comes from. Each module has `fetch(params, out)`: it writes the source's rows, byte for byte, and
returns the manifest's `files` (path inside `out`, side or null) with what identifies the source."""
