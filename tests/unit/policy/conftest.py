"""Properties here build many policies; on a busy machine one may take longer than hypothesis likes."""

from hypothesis import settings

settings.register_profile("policy", deadline=None)
settings.load_profile("policy")
