"""fleetbox: sandboxes for coding agents on a fleet, provisioned, pushed and shown to hold.

Holds the version and nothing else: the folder `fleetbox/hostside` is installed on hosts below a
copy of this file, so whatever is imported here would be imported there.
"""

__version__ = "0.1.0"
