/* Places on a host. fleetbox/hostside/paths.py decides them; a contract test compares the two. */
#ifndef FLEETBOX_PATHS_H
#define FLEETBOX_PATHS_H

#define FLEETBOX_PREFIX "/usr/local/lib/fleetbox"
#define FLEETBOX_BWRAP FLEETBOX_PREFIX "/bin/bwrap"
#define FLEETBOX_STATE "/var/lib/fleetbox"
#define FLEETBOX_STORE FLEETBOX_STATE "/store"
#define FLEETBOX_CURRENT FLEETBOX_STATE "/current"
#define FLEETBOX_LINUX_DIR "linux"
#define FLEETBOX_LAUNCH_PLAN "launch.plan"
#define FLEETBOX_POLICIES_DIR "policies"
#define FLEETBOX_GPU_DIR FLEETBOX_STATE "/gpu"
#define FLEETBOX_GPU_MAP FLEETBOX_GPU_DIR "/map"
#define FLEETBOX_TRYOUT_GPU_MAP "gpu.map"
#define FLEETBOX_GPU_LOCKS FLEETBOX_GPU_DIR "/locks"
#define FLEETBOX_REFUSALS "/var/log/fleetbox/refusals"

#endif
