#!/usr/bin/env python3
"""Runs anew for every request; without a header block the answer is text/plain."""
import os
import platform

print(f"Hello from Python {platform.python_version()}: {os.environ['REQUEST_METHOD']} {os.environ['REQUEST_URI']}")
