"""Showing that a policy holds: what to expect of a host, what it answered, what that means, who reads it."""
