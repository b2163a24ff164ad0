"""The programs that are run in a sandbox and beside it. Each prints one line of JSON, or fails."""

from __future__ import annotations

COMPUTE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from fleetbox.hostside.probes.gpu import cuda
library = cuda.library()
print(json.dumps({"cuda": cuda.version(library), "gpus": [list(one) for one in cuda.devices(library)]}))
"""
MATRIX = """
import json, torch
a, b = (torch.randn(2048, 2048, device="cuda") for _ in range(2))
exact = a.double().cpu() @ b.double().cpu()
wrong = ((a @ b).double().cpu() - exact).abs().max().item()
assert wrong < 1, wrong
print(json.dumps({"torch": torch.__version__, "gpus": torch.cuda.device_count(), "largest_error": wrong}))
"""
# Workers are processes that pass tensors by shared memory and descriptors by UNIX sockets.
LOADER = """
import json, torch
from torch.utils.data import DataLoader, Dataset
class Squares(Dataset):
    def __len__(self): return 256
    def __getitem__(self, index): return torch.full((256, 256), float(index))
if __name__ == "__main__":
    loaded = DataLoader(Squares(), batch_size=8, num_workers=4, pin_memory=True)
    total = sum(batch.cuda(non_blocking=True)[:, 0, 0].sum().item() for batch in loaded)
    assert total == 255 * 128, total
    print(json.dumps({"workers": 4, "batches": len(loaded)}))
"""
# In the very process that has used the GPU.
CLOSED = """
import errno, json, os, socket, sys, torch
torch.ones(8, device="cuda").sum().item()
def tried(attempt):
    try: attempt()
    except OSError as problem: return errno.errorcode.get(problem.errno, str(problem))
    return "OPEN"
print(json.dumps({
    "connect": tried(lambda: socket.create_connection(("192.0.2.1", 443), timeout=3)),
    "write outside": tried(lambda: open("/usr/local/fleetbox-was-here", "x")),
    "write in the workspace": tried(lambda: open("made-by-the-workload", "w")),
}))
"""
NODES = """
import json, os
found = []
for directory, _, names in os.walk("/dev"):
    found += [f"{directory}/{name}" for name in names if "nvidia" in directory + name or "/dri" in directory]
env = {name: value for name, value in os.environ.items() if name.startswith(("CUDA", "NVIDIA", "TRITON"))}
print(json.dumps({"nodes": sorted(found), "env": env}))
"""
# From the first instruction of Python to a context: what a person waits for.
START = """
import json, sys, time
begin = time.perf_counter()
sys.path.insert(0, sys.argv[1])
from fleetbox.hostside.probes.gpu import cuda
library = cuda.library()
cuda.version(library)
cuda.devices(library)
print(json.dumps({"ms": 1000 * (time.perf_counter() - begin)}))
"""

POLICIES = {
    "all": "",
    "first": "devices: {gpu: {mode: required, select: 0}}\n",
    "graphics": "devices: {gpu: {profile: graphics}}\n",
    "none": "gpu_passthrough: false\n",
}
# What is tried, under which policy, and whether it must work inside.
TRIALS = (
    ("nodes and environment", NODES, "all", True),
    ("cuInit, context, memory round trip", COMPUTE, "all", True),
    ("the same, one GPU chosen", COMPUTE, "first", True),
    ("PyTorch matrix product", MATRIX, "all", True),
    ("PyTorch data loader, 4 workers", LOADER, "all", True),
    ("network and files stay closed after CUDA", CLOSED, "all", True),
    ("no GPU in the policy: CUDA must fail", COMPUTE, "none", False),
)
