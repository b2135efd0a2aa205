#!/usr/bin/env python
"""`factory sample` as a job: ray job submit --working-dir . -- python jobs/sample.py ..."""

from factory.cli import job

if __name__ == "__main__":
    job("sample")
