"""CDI: what the vendors' generators say that a GPU needs, read as hostile text and translated, or refused.

text, yaml_text: bytes to values · fields: strict reading of values · spec: one file · folder: the directories
· translate: a device to what a sandbox can be given · registry: all of it (docs/gpu-map.md).
"""
