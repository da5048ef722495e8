"""What tools/verify.py runs: the workbench, and the parts, one module a subject."""
