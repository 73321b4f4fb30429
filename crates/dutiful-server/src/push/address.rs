//! Which addresses may be called: the world's, and those of the own network where it was said.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Most addresses of a host that are tried.
const ADDRESSES_MAX: usize = 16;

/// The addresses of a host, when they are known.
pub type Resolved = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Finds the addresses of a host. It is asked once for each connection, and the connection goes to
/// one of the addresses that it answered with, all of which were checked.
pub trait Resolver: Send + Sync + 'static {
    /// Returns every address of the host.
    fn resolve(&self, host: &str) -> Resolved;
}

/// The system's resolver.
#[derive(Debug)]
pub(super) struct System;

impl Resolver for System {
    fn resolve(&self, host: &str) -> Resolved {
        let host = host.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Why a host is not called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(String);

/// What an address leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Somebody's host on the internet.
    World,
    /// This machine or its network: called where the handler says so.
    Private,
    /// No service that a job could mean: metadata of clouds, groups, what is reserved.
    Never,
}

/// The networks of IPv4 that are not the world, by the registry of special addresses.
const V4: [(Ipv4Addr, u32, Reach); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, Reach::Never),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Reach::Private),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Reach::Private),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Reach::Private),
    // Link-local; clouds answer there with the machine's own credentials.
    (Ipv4Addr::new(169, 254, 0, 0), 16, Reach::Never),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Reach::Private),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Reach::Never),
    (Ipv4Addr::new(192, 0, 2, 0), 24, Reach::Never),
    (Ipv4Addr::new(192, 88, 99, 0), 24, Reach::Never),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Reach::Private),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Reach::Private),
    (Ipv4Addr::new(198, 51, 100, 0), 24, Reach::Never),
    (Ipv4Addr::new(203, 0, 113, 0), 24, Reach::Never),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Reach::Never),
    (Ipv4Addr::new(240, 0, 0, 0), 4, Reach::Never),
    // Azure's machines answer their guests here, beside the link-local address.
    (Ipv4Addr::new(168, 63, 129, 16), 32, Reach::Never),
];

/// The same of IPv6; what is outside `2000::/3` and not named here is never called.
const V6: [(Ipv6Addr, u32, Reach); 8] = [
    // The metadata of one cloud lies among the private addresses.
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32, Reach::Never),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Reach::Private),
    (Ipv6Addr::LOCALHOST, 128, Reach::Private),
    // What stands for an IPv4 address by a tunnel leads wherever that says.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, Reach::Never),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, Reach::Never),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, Reach::Never),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Reach::Never),
    (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, Reach::World),
];

/// The prefix under which networks without IPv4 write its addresses.
const NAT64: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);

fn reach(ip: IpAddr) -> Reach {
    match ip {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => written_in(v6).map_or_else(|| reach_v6(v6), reach_v4),
    }
}

fn reach_v4(ip: Ipv4Addr) -> Reach {
    let is_in = |net: Ipv4Addr, bits| (ip.to_bits() ^ net.to_bits()).leading_zeros() >= bits;
    let found = V4.iter().find(|(net, bits, _)| is_in(*net, *bits));
    found.map_or(Reach::World, |(_, _, reach)| *reach)
}

fn reach_v6(ip: Ipv6Addr) -> Reach {
    let is_in = |net: Ipv6Addr, bits| (ip.to_bits() ^ net.to_bits()).leading_zeros() >= bits;
    let found = V6.iter().find(|(net, bits, _)| is_in(*net, *bits));
    found.map_or(Reach::Never, |(_, _, reach)| *reach)
}

/// Returns the IPv4 address that an IPv6 address is another spelling of.
fn written_in(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let in_nat64 = (ip.to_bits() ^ NAT64.to_bits()).leading_zeros() >= 96;
    let last = Ipv4Addr::from_bits(ip.to_bits() as u32);
    ip.to_ipv4_mapped().or(in_nat64.then_some(last))
}

/// Checks one address of a host, which is named when it is refused.
pub(super) fn check(host: &str, ip: IpAddr, allow_private: bool) -> Result<(), Refused> {
    let whose = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(literal) if ip == literal => ip.to_string(),
        _ => format!("{host} leads to {ip}, which"),
    };
    match reach(ip) {
        Reach::World => Ok(()),
        Reach::Private if allow_private => Ok(()),
        Reach::Private => Err(Refused(format!(
            "{whose} is an address of this machine or of a private network; \
             say allow_private = true if the handler is meant to call there, or \
             private_handlers = true in [serve] if it is one that was registered over HTTP"
        ))),
        Reach::Never => Err(Refused(format!(
            "{whose} is a link-local, reserved or metadata address and is never called"
        ))),
    }
}

/// What a client of `reqwest` asks when it opens a connection: the one place where a name becomes
/// an address, so that what was checked is what is connected to.
pub(super) struct Checked {
    pub(super) resolver: Arc<dyn Resolver>,
    pub(super) allow_private: bool,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolved, allow_private) = (self.resolver.resolve(name.as_str()), self.allow_private);
        Box::pin(async move {
            let ips = resolved.await?;
            // One bad address among good ones is a sign of somebody who tries.
            ips.iter().try_for_each(|ip| check(name.as_str(), *ip, allow_private))?;
            let addresses: Vec<_> =
                ips.into_iter().take(ADDRESSES_MAX).map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn reach_of(text: &str) -> Reach {
        reach(text.parse().unwrap())
    }

    #[test]
    fn the_own_network_is_private() {
        for ip in [
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "::1",
            "fc00::1",
            "fd12:3456::1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "64:ff9b::10.0.0.1",
            "64:ff9b::7f00:1",
        ] {
            assert_eq!(reach_of(ip), Reach::Private, "{ip}");
            let ip = ip.parse().unwrap();
            assert!(check("a.example", ip, true).is_ok());
            let refused = check("a.example", ip, false).unwrap_err().to_string();
            assert!(refused.starts_with("a.example leads to "), "{refused}");
        }
    }

    #[test]
    fn some_addresses_are_never_called() {
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "168.63.129.16",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "198.51.100.1",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::2",
            "::127.0.0.1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "4000::1",
            "64:ff9b:1::7f00:1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
            "64:ff9b::169.254.169.254",
        ] {
            assert_eq!(reach_of(ip), Reach::Never, "{ip}");
            assert!(check("a.example", ip.parse().unwrap(), true).is_err(), "{ip}");
        }
    }

    #[test]
    fn the_rest_is_the_world() {
        for ip in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2000::1",
            "2001:200::1",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
        ] {
            assert_eq!(reach_of(ip), Reach::World, "{ip}");
            assert!(check("a.example", ip.parse().unwrap(), false).is_ok(), "{ip}");
        }
    }
}
