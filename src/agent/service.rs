//! The unit by which systemd runs an agent, with no more rights than it needs.

/// Name of the unit.
pub const UNIT: &str = "greenroom-agent.service";

/// Where the service keeps what it has, as root sees it.
pub const STATE: &str = "/var/lib/greenroom-agent";

/// The unit of systemd for a program at this path.
///
/// What it may: talk over IP, ask the kernel for routes and Wi-Fi (netlink), write its own folder, look at `/proc`. `PrivateDevices` would
/// hide cameras that are in use, `ProcSubset=pid` the sound cards.
pub fn unit(program: &str) -> String {
    format!(
        "[Unit]
Description=Greenroom agent: checks on a schedule whether calls will work
Wants=network-online.target
After=network-online.target

[Service]
ExecStart={program} agent run --state {STATE}
Restart=always
RestartSec=10
# Not enrolled (66) or wrong settings (64): a new start would change nothing.
RestartPreventExitStatus=64 66
DynamicUser=yes
StateDirectory=greenroom-agent
StateDirectoryMode=0700
UMask=0077
Nice=5
MemoryMax=256M
TasksMax=64

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
PrivateTmp=yes
PrivateMounts=yes
DevicePolicy=closed
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_that_is_packaged_is_this_one() {
        assert_eq!(include_str!("../../packaging/greenroom-agent.service"), unit("/usr/bin/greenroom"));
    }
}
