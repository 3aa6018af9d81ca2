//! A network of the desks' own that loses packets: they are in one namespace, and a
//! second one between them and the balancer drops one packet in a hundred, each way.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;

use crate::support::tools::skip;

/// All namespaces of experiments are called so, and by the process that made them.
const DESKS: &str = "faults-desks-";
const ROUTER: &str = "faults-router-";
/// What is dropped of all packets, each way.
const LOSS: &str = "0.01";

/// It is gone with the experiment, its rules and interfaces with it.
pub(crate) struct Lossy {
    process: u32,
    /// Where the balancer is to listen.
    pub(crate) near: IpAddr,
}

impl Lossy {
    /// Makes it; `None` if this machine does not let us.
    pub(crate) fn new() -> Option<Self> {
        remove_stale();
        let process = std::process::id();
        let near = address(process, 1).into();
        let lossy = Self { process, near };
        match lossy.build() {
            Ok(()) => Some(lossy),
            Err(why) => {
                skip(&format!(
                    "no network that loses packets, which needs root, `ip` and `iptables`: {why}"
                ));
                None
            }
        }
    }

    fn build(&self) -> Result<(), String> {
        let process = self.process;
        let (desks, router) = (format!("{DESKS}{process}"), format!("{ROUTER}{process}"));
        let [near, router_near, router_far, far] = [1, 2, 5, 6].map(|host| address(process, host));
        let far_net = address(process, 4);
        // Names of interfaces have 15 bytes at most. A packet is one segment, as on a real
        // network, and not up to 64 KiB of them.
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|end| format!("flt-{end}-{process}"));
        shell(&format!(
            "ip netns add {desks}
             ip netns add {router}
             ip link add {a} type veth peer name {b} netns {router}
             ip -n {router} link add {c} type veth peer name {d} netns {desks}
             ip address add {near}/30 dev {a}
             ip -n {router} address add {router_near}/30 dev {b}
             ip -n {router} address add {router_far}/30 dev {c}
             ip -n {desks} address add {far}/30 dev {d}
             ip link set {a} up gso_max_segs 1
             ip -n {router} link set {b} up gso_max_segs 1
             ip -n {router} link set {c} up gso_max_segs 1
             ip -n {desks} link set {d} up gso_max_segs 1
             ip route add {far_net}/30 via {router_near}
             ip -n {desks} route add default via {router_far}
             ip netns exec {router} sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
             ip netns exec {router} iptables -A FORWARD \
                -m statistic --mode random --probability {LOSS} -j DROP"
        ))
        .map(drop)
    }

    /// What a command begins with to be run in there.
    pub(crate) fn inside(&self) -> [OsString; 4] {
        let desks = format!("{DESKS}{}", self.process);
        ["ip", "netns", "exec", &desks].map(OsString::from)
    }

    /// How many packets were lost so far.
    pub(crate) fn lost(&self) -> u64 {
        let list = format!(
            "ip netns exec {ROUTER}{} iptables -nvxL FORWARD",
            self.process
        );
        let rules = shell(&list).unwrap();
        let rule = rules.lines().find(|line| line.contains(" DROP ")).unwrap();
        rule.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        for kind in [DESKS, ROUTER] {
            // Half of it may never have been there.
            let _ = shell(&format!("ip netns delete {kind}{}", self.process));
        }
    }
}

/// Of the addresses that are kept for measurements eight are each process's own.
fn address(process: u32, host: u8) -> Ipv4Addr {
    let [_, _, high, low] = (process << 3).to_be_bytes();
    Ipv4Addr::new(198, 18, high, low | host)
}

/// Removes what experiments have left that were killed.
fn remove_stale() {
    let listed = shell("ip netns list").unwrap_or_default();
    for name in listed.lines().filter_map(|line| line.split(' ').next()) {
        let process = [DESKS, ROUTER]
            .iter()
            .find_map(|kind| name.strip_prefix(kind));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = shell(&format!("ip netns delete {name}"));
        }
    }
}

/// What these commands print, if each succeeds.
fn shell(commands: &str) -> Result<String, String> {
    let ran = Command::new("sh").args(["-ec", commands]).output();
    let ran = ran.map_err(|error| error.to_string())?;
    let [out, err] = [ran.stdout, ran.stderr].map(|said| String::from_utf8_lossy(&said).into());
    match ran.status.success() {
        true => Ok(out),
        false => Err(err),
    }
}
