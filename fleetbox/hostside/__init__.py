"""The part of fleetbox that runs on hosts: standard library only, Python >= 3.9.

The control machine imports from here what both sides must agree on (paths, manifest, check ids);
nothing here imports from the rest of the package.
"""
