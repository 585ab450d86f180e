//! Where Redis is: one node, or the nodes a Redis Cluster is found by.
//!
//! Owns the form `redis+cluster://[user:password@]host:port,host:port`, which redis-rs does not
//! know. Invariant: no error repeats a password.

/// A Redis Cluster over plain TCP.
const CLUSTER: &str = "redis+cluster://";
/// A Redis Cluster over TLS.
const CLUSTER_TLS: &str = "rediss+cluster://";

/// What `REDIS_URL` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RedisUrl {
    /// One node, as redis-rs spells it.
    Node(String),
    /// A cluster.
    Cluster(ClusterUrl),
}

/// Nodes a cluster is found by, and how to speak to each of its nodes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClusterUrl {
    /// `redis` or `rediss`.
    scheme: &'static str,
    /// `user:password@`, still percent-encoded; or nothing.
    login: String,
    /// `host:port`, at least one.
    pub(crate) seeds: Vec<String>,
}

/// Why a cluster's URL is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisUrlError {
    /// Nothing stands where the nodes should.
    #[error("{0} names no node: write host:port,host:port")]
    NoNode(&'static str),
    /// A node without a port, or with one that is no number.
    #[error("{0:?} is not host:port")]
    NotHostPort(String),
    /// More than nodes and a login.
    #[error("a Redis Cluster has database 0 only, and no options: leave {0:?} out")]
    Surplus(String),
}

impl std::fmt::Debug for ClusterUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterUrl").field("seeds", &self.seeds).finish_non_exhaustive()
    }
}

impl RedisUrl {
    /// Reads a URL; one of a single node is left to redis-rs.
    pub(crate) fn parse(text: &str) -> Result<Self, RedisUrlError> {
        let forms = [(CLUSTER, "redis"), (CLUSTER_TLS, "rediss")];
        for (form, scheme) in forms {
            if let Some(rest) = text.strip_prefix(form) {
                return ClusterUrl::parse(form, scheme, rest).map(Self::Cluster);
            }
        }
        Ok(Self::Node(text.to_owned()))
    }
}

impl ClusterUrl {
    fn parse(form: &'static str, scheme: &'static str, rest: &str) -> Result<Self, RedisUrlError> {
        let (login, rest) = match rest.rfind('@') {
            Some(at) => rest.split_at(at + 1),
            None => ("", rest),
        };
        let (nodes, surplus) = match rest.find(['/', '?', '#']) {
            Some(end) => rest.split_at(end),
            None => (rest, ""),
        };
        if !matches!(surplus, "" | "/" | "/0") {
            return Err(RedisUrlError::Surplus(surplus.to_owned()));
        }
        if nodes.is_empty() {
            return Err(RedisUrlError::NoNode(form));
        }
        let seeds: Vec<String> = nodes.split(',').map(|node| node.trim().to_owned()).collect();
        match seeds.iter().find(|seed| !is_host_port(seed)) {
            Some(bad) => Err(RedisUrlError::NotHostPort(bad.clone())),
            None => Ok(Self { scheme, login: login.to_owned(), seeds }),
        }
    }

    /// The URL of one node, as redis-rs spells it.
    pub(crate) fn node(&self, host_port: &str) -> String {
        format!("{}://{}{host_port}/", self.scheme, self.login)
    }
}

/// Whether this is `host:port`, or `[address]:port` for IPv6.
fn is_host_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
    let plain = !host.is_empty() && !host.contains([':', '[', ']']);
    (bracketed || plain) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(text: &str) -> Result<ClusterUrl, RedisUrlError> {
        match RedisUrl::parse(text)? {
            RedisUrl::Cluster(cluster) => Ok(cluster),
            RedisUrl::Node(url) => panic!("{url} was taken for one node"),
        }
    }

    #[test]
    fn a_cluster_is_named_by_some_of_its_nodes_and_one_login() {
        let found = cluster("redis+cluster://default:p%40,s@a:7000,[::1]:7001/").unwrap();
        assert_eq!(found.seeds, ["a:7000", "[::1]:7001"]);
        assert_eq!(found.node("10.0.0.3:7002"), "redis://default:p%40,s@10.0.0.3:7002/");
        let found = cluster("rediss+cluster://a:7000").unwrap();
        assert_eq!(found.node("b:1"), "rediss://b:1/");
        let one = "redis://default:x@a:6379/0";
        assert_eq!(RedisUrl::parse(one), Ok(RedisUrl::Node(one.to_owned())));
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_its_password() {
        for (url, said) in [
            ("redis+cluster://u:secret@", "redis+cluster:// names no node"),
            ("redis+cluster://u:secret@a", "\"a\" is not host:port"),
            ("redis+cluster://u:secret@a:1,", "\"\" is not host:port"),
            ("redis+cluster://u:secret@a:0", "\"a:0\" is not host:port"),
            ("redis+cluster://u:secret@a:70000", "\"a:70000\" is not host:port"),
            ("redis+cluster://u:secret@::1:7", "\"::1:7\" is not host:port"),
            ("redis+cluster://u:secret@a:1/3", "leave \"/3\" out"),
            ("redis+cluster://u:secret@a:1?protocol=resp3", "leave \"?protocol=resp3\" out"),
        ] {
            let error = cluster(url).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("secret"), "{url}: {error}");
        }
        let debug = format!("{:?}", cluster("redis+cluster://u:secret@a:1").unwrap());
        assert!(!debug.contains("secret"), "{debug}");
    }
}
