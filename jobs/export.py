#!/usr/bin/env python
"""`factory export` as a job: ray job submit --working-dir . -- python jobs/export.py ..."""

from factory.cli import job

if __name__ == "__main__":
    job("export")
