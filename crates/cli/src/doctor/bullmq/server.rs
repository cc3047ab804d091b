//! Facts that a Redis server reports: INFO, and CONFIG where permitted.

use std::collections::HashMap;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisError, cmd};

/// A Redis server as it says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) version: String,
    /// CONFIG is refused on many hosted servers; then less is known.
    pub(super) config_refused: bool,
    pub(super) aof: bool,
    /// `always`, `everysec` or `no`.
    pub(super) fsync: Option<String>,
    pub(super) no_fsync_on_rewrite: bool,
    pub(super) aof_write_failed: bool,
    pub(super) aof_rewrite_failed: bool,
    /// Times that an fsync was so late that a write waited for it.
    pub(super) delayed_fsyncs: u64,
    /// `3600 1 300 100`; empty for no snapshots; `None` when not known.
    pub(super) save: Option<String>,
    /// Seconds since the epoch, by the server's clock. A server that never saved says when it
    /// started.
    pub(super) last_save: i64,
    pub(super) save_failed: bool,
    pub(super) changes: u64,
    pub(super) now: i64,
    /// Snapshots since it started; older servers do not say.
    pub(super) saves: Option<u64>,
    pub(super) uptime: u64,
    pub(super) policy: Option<String>,
    pub(super) max_memory: u64,
    pub(super) used_memory: u64,
    pub(super) evicted: u64,
    pub(super) is_replica: bool,
    pub(super) replicas: Vec<Replica>,
    /// Replicas without which it takes no write.
    pub(super) min_replicas: u64,
    pub(super) commands_per_second: u64,
}

/// A server that follows this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Replica {
    pub(super) address: String,
    pub(super) online: bool,
    /// Bytes that it has not acknowledged.
    pub(super) behind: u64,
}

impl Server {
    /// Reads what can be read.
    pub(super) async fn read(connection: &mut MultiplexedConnection) -> Result<Self, RedisError> {
        let info = Fields::parse(&ask::<String>(connection, &["INFO"]).await?);
        let (now, _): (i64, i64) = ask(connection, &["TIME"]).await?;
        let config = match config(connection).await {
            Ok(config) => Some(config),
            // The connection is good: what failed is that this may not be asked.
            Err(error) if !error.is_io_error() && !error.is_timeout() => None,
            Err(error) => return Err(error),
        };
        Ok(Self::of(&info, config.as_ref(), now))
    }

    fn of(info: &Fields, config: Option<&HashMap<String, String>>, now: i64) -> Self {
        let setting = |name: &str| config.and_then(|config| config.get(name)).cloned();
        let number = |name: &str| setting(name).and_then(|text| text.parse().ok());
        Self {
            version: info.text("redis_version").to_owned(),
            config_refused: config.is_none(),
            aof: info.number("aof_enabled") == 1,
            fsync: setting("appendfsync"),
            no_fsync_on_rewrite: setting("no-appendfsync-on-rewrite").as_deref() == Some("yes"),
            aof_write_failed: info.text("aof_last_write_status") == "err",
            aof_rewrite_failed: info.text("aof_last_bgrewrite_status") == "err",
            delayed_fsyncs: info.number("aof_delayed_fsync"),
            save: setting("save"),
            last_save: i64::try_from(info.number("rdb_last_save_time")).unwrap_or_default(),
            save_failed: info.text("rdb_last_bgsave_status") == "err",
            changes: info.number("rdb_changes_since_last_save"),
            now,
            saves: info
                .known("rdb_saves")
                .and_then(|number| number.parse().ok()),
            uptime: info.number("uptime_in_seconds"),
            policy: setting("maxmemory-policy").or_else(|| info.known("maxmemory_policy")),
            max_memory: number("maxmemory").unwrap_or_else(|| info.number("maxmemory")),
            used_memory: info.number("used_memory"),
            evicted: info.number("evicted_keys"),
            is_replica: info.text("role") == "slave",
            replicas: info.replicas(),
            min_replicas: number("min-replicas-to-write").unwrap_or_default(),
            commands_per_second: info.number("instantaneous_ops_per_sec"),
        }
    }
}

async fn config(
    connection: &mut MultiplexedConnection,
) -> Result<HashMap<String, String>, RedisError> {
    let mut all = HashMap::new();
    for pattern in [
        "append*",
        "no-appendfsync-on-rewrite",
        "save",
        "maxmemory*",
        "min-replicas-to-write",
    ] {
        all.extend(ask::<HashMap<String, String>>(connection, &["CONFIG", "GET", pattern]).await?);
    }
    Ok(all)
}

/// Asks one command.
pub(super) async fn ask<T: FromRedisValue>(
    connection: &mut MultiplexedConnection,
    words: &[&str],
) -> Result<T, RedisError> {
    let mut command = cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    command.query_async(connection).await
}

/// The lines of INFO: `name:value`.
#[derive(Debug)]
struct Fields(HashMap<String, String>);

impl Fields {
    fn parse(info: &str) -> Self {
        let lines = info
            .lines()
            .filter_map(|line| line.trim_end().split_once(':'));
        Self(
            lines
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    fn known(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or_default()
    }

    /// `slave0:ip=10.0.0.2,port=6379,state=online,offset=420,lag=0`.
    fn replicas(&self) -> Vec<Replica> {
        let offset = self.number("master_repl_offset");
        let lines =
            (0..self.number("connected_slaves")).map(|index| self.text(&format!("slave{index}")));
        lines
            .filter(|line| !line.is_empty())
            .map(|line| replica(line, offset))
            .collect()
    }
}

fn replica(line: &str, offset: u64) -> Replica {
    let fields: HashMap<&str, &str> = line
        .split(',')
        .filter_map(|field| field.split_once('='))
        .collect();
    let text = |name: &str| fields.get(name).copied().unwrap_or_default();
    Replica {
        address: format!("{}:{}", text("ip"), text("port")),
        online: text("state") == "online",
        behind: offset.saturating_sub(text("offset").parse().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_alone_gives_what_it_can() {
        let info = "# Server\r\nredis_version:7.0.15\r\naof_enabled:0\r\nmaxmemory_policy:allkeys-lru\r\nmaxmemory:1000\r\n\
                    connected_slaves:1\r\nslave0:ip=10.0.0.2,port=6379,state=online,offset=400,lag=0\r\n\
                    master_repl_offset:420\r\nrole:master\r\nrdb_last_save_time:1700000000\r\n";
        let server = Server::of(&Fields::parse(info), None, 1_700_000_060);
        let replica = Replica {
            address: "10.0.0.2:6379".to_owned(),
            online: true,
            behind: 20,
        };
        let expect = Server {
            version: "7.0.15".to_owned(),
            config_refused: true,
            policy: Some("allkeys-lru".to_owned()),
            max_memory: 1000,
            last_save: 1_700_000_000,
            now: 1_700_000_060,
            replicas: vec![replica],
            ..Server::default()
        };
        assert_eq!(server, expect);
    }
}
