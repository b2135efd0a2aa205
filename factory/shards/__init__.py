"""The product: image/mask pairs in Parquet or WebDataset shards, and their ledger."""
