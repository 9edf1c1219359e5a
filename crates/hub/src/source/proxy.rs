//! The proxy that the environment names for an address, by the rules of Python's `requests`: for
//! our own connections, and for the ledger where the package client's configuration names none.

use crate::egress;
use std::collections::BTreeMap;

/// The variables `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, by these names; the
/// program that reads the environment fills it.
#[derive(Clone, Debug, Default)]
pub struct Proxies(pub BTreeMap<String, String>);

impl Proxies {
    /// The proxies on the way to `destinations`, as the ledger names them.
    pub(crate) fn towards(&self, destinations: &[String]) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for address in destinations {
            let through = self.on_the_way(address).map(through);
            found.extend(through.filter(|through| !found.contains(through)));
        }
        found
    }

    /// The proxy on the way to `address` (scheme, host, port), with its password if it has one.
    pub(crate) fn on_the_way(&self, address: &str) -> Option<&str> {
        let (scheme, host) = address.split_once("://")?;
        if self.is_direct(host) {
            return None;
        }
        let value = |name: &str| self.0.get(name).map(String::as_str).filter(|v| !v.is_empty());
        value(&format!("{scheme}_proxy")).or_else(|| value("all_proxy"))
    }

    fn is_direct(&self, host: &str) -> bool {
        let bare = match host.rsplit_once(':') {
            Some((bare, port)) if port.parse::<u16>().is_ok() => bare,
            _ => host,
        };
        let list = self.0.get("no_proxy").map_or("", String::as_str);
        if list.trim() == "*" {
            return true;
        }
        let mut exempt = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        exempt.any(|entry| {
            let entry = entry.to_ascii_lowercase();
            let entry = entry.trim_start_matches('.');
            bare.ends_with(entry) || host.ends_with(entry)
        })
    }
}

/// A proxy without its secrets; one without a scheme is spoken to over HTTP.
pub(super) fn through(proxy: &str) -> String {
    let address = match proxy.contains("://") {
        true => proxy.to_owned(),
        false => format!("{}://{proxy}", "http"),
    };
    format!("through {}", egress::destination(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(pairs: &[(&str, &str)]) -> Proxies {
        Proxies(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn the_proxy_of_the_environment_is_named_without_its_password() {
        let to = ["https://pypi.org".to_owned(), "https://example.com:1".to_owned()];
        let all = ("all_proxy", "https://all.example");
        let found = proxies(&[("https_proxy", "me:hunter2@proxy.example:3128"), all]).towards(&to);
        assert_eq!(found, [concat!("through http:", "//proxy.example:3128")]);
        assert_eq!(proxies(&[all]).towards(&to), ["through https://all.example"]);
        assert!(proxies(&[("http_proxy", "p.example:1")]).towards(&to).is_empty());
        for exempt in ["*", "pypi.org, example.com", ".org,example.com:1"] {
            assert!(proxies(&[all, ("no_proxy", exempt)]).towards(&to).is_empty(), "{exempt}");
        }
        assert!(proxies(&[all]).towards(&["a local folder".to_owned()]).is_empty());
    }
}
