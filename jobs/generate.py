#!/usr/bin/env python
"""`factory generate` as a job: ray job submit --working-dir . -- python jobs/generate.py ..."""

from factory.cli import job

if __name__ == "__main__":
    job("generate")
