"""Probes of GPUs (FBX-GPU): which nodes are there, whether the declared ones compute, and nothing more.

What must be there is derived from `detect.gpu`, not from the launcher. The modules named in `launch.py` are
sent into the sandbox as source, beside `attempts.py`.
"""
