"""What runs on a test host: attempts to get out of a sandbox, and who decides whether they did.

Standard library only, Python >= 3.9: the folder is copied to the host and runs there as root, outside every
sandbox. It stages a world, starts one payload as the workload's user, and looks at the world afterwards.
"""
