//! Reads one queue. What looks wrong is looked at twice: jobs move while they are read.

use std::collections::HashSet;

use base64::Engine as _;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, pipe};

use super::facts::{Counts, Queue};
use super::keys::{self, FINISHED, LISTS, SETS, key};
use super::server::ask;

/// Ids of each list that are looked at.
const LOOKED_AT: isize = 10_000;

/// Commands sent in one go.
const BATCH: usize = 1000;

/// The ids on the queue's lists of unfinished jobs.
#[derive(Debug, Default)]
struct Listed {
    active: Vec<String>,
    others: Vec<String>,
    all: bool,
}

impl Listed {
    fn ids(&self) -> impl Iterator<Item = &String> {
        self.active.iter().chain(&self.others)
    }
}

/// Reads a queue. `last_save` is when the server last wrote a snapshot, in seconds since the epoch.
pub(super) async fn read(
    connection: &mut MultiplexedConnection,
    prefix: &str,
    name: &str,
    last_save: i64,
) -> Result<Queue, RedisError> {
    let reader = &mut Reader {
        connection,
        prefix,
        name,
    };
    let counts = reader.counts().await?;
    let listed = reader.listed().await?;
    let (orphaned, since_save) = reader.data(&listed, last_save).await?;
    let (unlisted, all_scanned) = reader.unlisted(&listed).await?;
    let meta: (Option<String>, Option<String>) = ask(
        reader.connection,
        &["HMGET", &reader.key("meta"), "version", "paused"],
    )
    .await?;
    let exists: u64 = ask(
        reader.connection,
        &["EXISTS", &reader.key("meta"), &reader.key("id")],
    )
    .await?;
    Ok(Queue {
        name: name.to_owned(),
        exists: exists > 0 || listed.ids().next().is_some(),
        version: meta.0,
        paused: meta.1.is_some(),
        counts,
        workers: reader.workers().await?,
        checks_stalled: ask::<u64>(reader.connection, &["EXISTS", &reader.key("stalled-check")])
            .await?
            > 0,
        stalled: reader.stalled(&listed).await?,
        orphaned,
        unlisted,
        all_seen: listed.all && all_scanned,
        unfinished: listed.ids().count() as u64,
        since_save,
    })
}

struct Reader<'a> {
    connection: &'a mut MultiplexedConnection,
    prefix: &'a str,
    name: &'a str,
}

impl Reader<'_> {
    fn key(&self, kind: &str) -> String {
        key(self.prefix, self.name, kind)
    }

    async fn counts(&mut self) -> Result<Counts, RedisError> {
        let mut all = pipe();
        for list in LISTS {
            all.cmd("LLEN").arg(self.key(list));
        }
        for set in SETS.iter().chain(&FINISHED) {
            all.cmd("ZCARD").arg(self.key(set));
        }
        let numbers: [u64; 8] = all.query_async(self.connection).await?;
        let [
            wait,
            paused,
            active,
            prioritized,
            delayed,
            parents,
            completed,
            failed,
        ] = numbers;
        Ok(Counts {
            waiting: wait + paused,
            prioritized,
            delayed,
            parents,
            active,
            failed,
            completed,
        })
    }

    async fn listed(&mut self) -> Result<Listed, RedisError> {
        let mut all = pipe();
        for list in LISTS {
            all.cmd("LRANGE")
                .arg(self.key(list))
                .arg(0)
                .arg(LOOKED_AT - 1);
        }
        for set in SETS {
            all.cmd("ZRANGE")
                .arg(self.key(set))
                .arg(0)
                .arg(LOOKED_AT - 1);
        }
        // In one transaction: a job that moves from one list to another is on one of them.
        let mut lists: Vec<Vec<String>> = all.atomic().query_async(self.connection).await?;
        let all = lists
            .iter()
            .all(|list| list.len() < LOOKED_AT.unsigned_abs());
        // Markers that older versions put among the ids.
        for list in &mut lists {
            list.retain(|id| !id.starts_with("0:"));
        }
        let active = lists.remove(2);
        Ok(Listed {
            active,
            others: lists.concat(),
            all,
        })
    }

    /// Active jobs without a lock. One that was just completed has no lock either, but is no longer
    /// active.
    async fn stalled(&mut self, listed: &Listed) -> Result<Vec<String>, RedisError> {
        let locks = self.exist(&listed.active, ":lock").await?;
        let mut unlocked = pick(&listed.active, locks, |locked| !locked);
        if !unlocked.is_empty() {
            let still = self
                .listed()
                .await?
                .active
                .into_iter()
                .collect::<HashSet<_>>();
            unlocked.retain(|id| still.contains(id));
        }
        Ok(unlocked)
    }

    /// Ids whose job is gone, and how many jobs were added after the last snapshot.
    async fn data(
        &mut self,
        listed: &Listed,
        last_save: i64,
    ) -> Result<(Vec<String>, u64), RedisError> {
        let ids = listed.ids().cloned().collect::<Vec<_>>();
        let times: Vec<Option<String>> = self
            .each(&ids, |all, key| all.cmd("HGET").arg(key).arg("timestamp"))
            .await?;
        let millis =
            |time: &Option<String>| time.as_ref().and_then(|time| time.parse::<i64>().ok());
        let newer = times
            .iter()
            .filter_map(millis)
            .filter(|&time| time / 1000 >= last_save)
            .count() as u64;
        let suspects = pick(&ids, times, |time| time.is_none());
        let mut gone = pick(&suspects, self.exist(&suspects, "").await?, |exists| {
            !exists
        });
        if !gone.is_empty() {
            let still = self.listed().await?;
            let still = still.ids().collect::<HashSet<_>>();
            gone.retain(|id| still.contains(id));
        }
        Ok((gone, newer))
    }

    /// Unfinished jobs that are on no list, and whether all keys were seen.
    async fn unlisted(&mut self, listed: &Listed) -> Result<(Vec<String>, bool), RedisError> {
        if !listed.all {
            return Ok((Vec::new(), false));
        }
        let (mut jobs, all) = keys::jobs(self.connection, self.prefix, self.name).await?;
        let on_a_list = listed.ids().collect::<HashSet<_>>();
        jobs.retain(|id| !on_a_list.contains(id));
        for set in FINISHED {
            let set = self.key(set);
            let scores: Vec<Option<f64>> = self
                .of(&jobs, |all, id| all.cmd("ZSCORE").arg(&set).arg(id))
                .await?;
            jobs = pick(&jobs, scores, |score| score.is_none());
        }
        if !jobs.is_empty() {
            // Added, moved or removed since the lists were read.
            let now = self.listed().await?;
            let now = now.ids().collect::<HashSet<_>>();
            jobs.retain(|id| !now.contains(id));
            // A job has a time and, once finished, the time of that; other hashes have none.
            let times: Vec<(Option<String>, Option<String>)> = self
                .each(&jobs, |all, key| {
                    all.cmd("HMGET").arg(key).arg("timestamp").arg("finishedOn")
                })
                .await?;
            jobs = pick(&jobs, times, |(added, finished)| {
                added.is_some() && finished.is_none()
            });
        }
        Ok((jobs, all))
    }

    /// Workers name their connections after the queue. Hosts that do not let clients be listed or
    /// named give none.
    async fn workers(&mut self) -> Result<Option<u64>, RedisError> {
        let list = match ask::<String>(self.connection, &["CLIENT", "LIST"]).await {
            Err(error) if !error.is_io_error() && !error.is_timeout() => return Ok(None),
            other => other?,
        };
        let unnamed = format!(
            "{}:{}",
            self.prefix,
            base64::engine::general_purpose::STANDARD.encode(self.name)
        );
        let named = format!("{unnamed}:w:");
        let names = list.lines().filter_map(|line| {
            line.split(' ')
                .find_map(|field| field.strip_prefix("name="))
        });
        Ok(Some(
            names
                .filter(|&name| name == unnamed || name.starts_with(&named))
                .count() as u64,
        ))
    }

    async fn exist(&mut self, ids: &[String], suffix: &str) -> Result<Vec<bool>, RedisError> {
        self.each(ids, |all, key| {
            all.cmd("EXISTS").arg(format!("{key}{suffix}"))
        })
        .await
    }

    /// Sends a command for the job of each id.
    async fn each<T: redis::FromRedisValue>(
        &mut self,
        ids: &[String],
        command: impl for<'p> Fn(&'p mut Pipeline, &str) -> &'p mut Pipeline,
    ) -> Result<Vec<T>, RedisError> {
        let start = self.key("");
        self.of(ids, |all, id| command(all, &format!("{start}{id}")))
            .await
    }

    /// Sends a command for each id.
    async fn of<T: redis::FromRedisValue>(
        &mut self,
        ids: &[String],
        command: impl for<'p> Fn(&'p mut Pipeline, &str) -> &'p mut Pipeline,
    ) -> Result<Vec<T>, RedisError> {
        let mut answers = Vec::with_capacity(ids.len());
        for ids in ids.chunks(BATCH) {
            let mut all = pipe();
            for id in ids {
                command(&mut all, id);
            }
            answers.extend(all.query_async::<Vec<T>>(self.connection).await?);
        }
        Ok(answers)
    }
}

fn pick<T>(ids: &[String], answers: Vec<T>, wanted: impl Fn(T) -> bool) -> Vec<String> {
    ids.iter()
        .zip(answers)
        .filter_map(|(id, answer)| wanted(answer).then(|| id.clone()))
        .collect()
}
