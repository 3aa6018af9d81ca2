//! The address at which a program on this machine reaches a listener.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An address that can be connected to: a server that listens on all of them
/// has no other name for itself.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_an_address_that_can_be_reached() {
        for (bound, told) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:2", "[::1]:2"),
            ("127.0.0.2:1", "127.0.0.2:1"),
            ("10.0.0.7:3", "10.0.0.7:3"),
        ] {
            let told: SocketAddr = told.parse().unwrap();
            assert_eq!(reachable(bound.parse().unwrap()), told);
        }
    }
}
