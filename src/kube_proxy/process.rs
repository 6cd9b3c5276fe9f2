//! kube-proxy's process.

use serde::{Deserialize, Serialize};

/// Programs that are kube-proxy, or have it in them: k3s and MicroK8s run it inside of their own.
#[cfg(all(feature = "node", target_os = "linux"))]
const PROGRAMS: [&str; 6] = ["kube-proxy", "k3s", "k3s-server", "k3s-agent", "kubelite", "hyperkube"];

/// What is known of its process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Process {
    /// Not looked for: it answers.
    #[default]
    NotLookedFor,
    /// It runs.
    Runs {
        /// Its number.
        pid: i32,
        /// Its name.
        name: String,
    },
    /// It was stopped, by a signal or a debugger.
    Stopped {
        /// Its number.
        pid: i32,
        /// Its name.
        name: String,
    },
    /// There is none.
    Gone,
    /// The processes of the node are not visible here: kptop is in another PID namespace.
    Hidden,
}

/// Looks for it among the processes that are visible.
#[cfg(all(feature = "node", target_os = "linux"))]
pub(super) fn look() -> Process {
    let Ok(all) = procfs::process::all_processes() else { return Process::Hidden };
    let mut sees_kernel = false;
    for stat in all.flatten().filter_map(|p| p.stat().ok()) {
        // The kernel's threads are in the node's own PID namespace alone.
        sees_kernel |= stat.comm == "kthreadd";
        if PROGRAMS.contains(&stat.comm.as_str()) {
            let (pid, name) = (stat.pid, stat.comm);
            return match stat.state {
                'T' | 't' => Process::Stopped { pid, name },
                _ => Process::Runs { pid, name },
            };
        }
    }
    if sees_kernel { Process::Gone } else { Process::Hidden }
}

/// None is looked for where no kernel is read.
#[cfg(not(all(feature = "node", target_os = "linux")))]
pub(super) fn look() -> Process {
    Process::Hidden
}

/// True in the kernel's first network namespace, in which nodes have kube-proxy but for nodes in containers (kind). Some sysctls are in
/// no other (`net_core_table` in `net/core/sysctl_net_core.c`); links of `/proc/1/ns` take a privilege that kptop gives up.
pub(super) fn in_first_netns() -> bool {
    std::path::Path::new("/proc/sys/net/core/netdev_budget").exists()
}
