"""What is learnt from finished results: comparisons, the report, searches, where a result comes from."""
