#!/bin/sh
# Runs anew for every request, in its service's own sandbox.
echo "Content-Type: text/plain"
echo
echo "Hello from sh: $REQUEST_METHOD $REQUEST_URI"
echo "I am user $(id -u), process $$, on host $(hostname)."
