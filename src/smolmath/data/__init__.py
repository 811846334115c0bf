"""From raw files to shards and splits: what is read, examined, filtered, merged and split."""
