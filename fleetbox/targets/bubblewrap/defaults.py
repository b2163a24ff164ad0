"""What holds in every sandbox whatever the policy says, and what a minimal root consists of.

Paths only; a rule that names something deeper opens it again, because the longest path decides.
"""

from posixpath import dirname

from fleetbox.hostside import paths

# /run holds the sockets of the host's services and of the user's session. A read-only bind does not stop
# connect(2), so the directory goes as a whole.
MASKS = ("/run", paths.STATE, dirname(paths.REFUSALS))

# Windows programs start through the interop sockets and the drives, outside every Linux namespace;
# /mnt/wslg/distro is the root file system once more, without our masks.
MASKS_ON_WSL = ("/mnt", "/mnt/wslg", "/run/WSL")

# /etc/resolv.conf leads into /run (systemd-resolved, NetworkManager, resolvconf) or, on WSL2, into /mnt/wsl.
# The file alone comes back: its directory has systemd-resolved's own sockets. The others are NixOS'.
KEPT = (
    "/etc/resolv.conf",
    "/run/booted-system",
    "/run/current-system",
    "/run/opengl-driver",
    "/run/opengl-driver-32",
)

# Enough for a dynamically linked program to start, find users and time zones, and check certificates.
# No /opt, /srv, /var or home: what a workload needs of those its policy names.
MINIMAL_ROOT = (
    "/bin",
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/crypto-policies",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/locale.alias",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki/ca-trust",
    "/etc/pki/tls",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/terminfo",
    "/etc/timezone",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/sbin",
    "/usr",
)

# CUDA walks the PCI tree and reads /sys/module/nvidia*/initstate before it touches a node.
MINIMAL_ROOT_FOR_GPU = ("/etc/OpenCL/vendors", "/etc/glvnd", "/etc/vulkan", "/opt/rocm", "/sys")
