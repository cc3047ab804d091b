//! Documents: compare-and-set, listing, expiry.

use surefoot::Timestamp;
use surefoot::document::{Document, DocumentFilter, Expect, NewDocument};

use super::state::State;

impl State {
    pub(super) fn put_document(
        &mut self,
        document: NewDocument,
        expect: Expect,
        now: Timestamp,
    ) -> Option<u64> {
        let NewDocument {
            kind,
            id,
            expires_at,
            data,
        } = document;
        let known = self
            .document(&kind, &id, now)
            .map(|document| document.version);
        let fits = match expect {
            Expect::Anything => true,
            Expect::Nothing => known.is_none(),
            Expect::Version(version) => known == Some(version),
        };
        let version = known.unwrap_or(0) + 1;
        fits.then(|| {
            let place = (kind.clone(), id.clone());
            self.documents.insert(
                place,
                Document {
                    kind,
                    id,
                    version,
                    updated_at: now,
                    expires_at,
                    data,
                },
            );
            version
        })
    }

    pub(super) fn document(&self, kind: &str, id: &str, now: Timestamp) -> Option<Document> {
        self.documents
            .get(&(kind.to_owned(), id.to_owned()))
            .filter(|document| lives(document, now))
            .cloned()
    }

    pub(super) fn documents(&self, filter: &DocumentFilter, now: Timestamp) -> Vec<Document> {
        let after = |document: &Document| {
            filter.after.as_ref().is_none_or(|after| {
                if filter.descending {
                    document.id < *after
                } else {
                    document.id > *after
                }
            })
        };
        let of_kind = self
            .documents
            .values()
            .filter(|document| document.kind == filter.kind);
        let mut found: Vec<_> = of_kind
            .filter(|document| lives(document, now) && after(document))
            .cloned()
            .collect();
        if filter.descending {
            found.reverse();
        }
        found.truncate(filter.limit);
        found
    }

    pub(super) fn delete_document(&mut self, kind: &str, id: &str, now: Timestamp) -> bool {
        self.documents
            .remove(&(kind.to_owned(), id.to_owned()))
            .is_some_and(|document| lives(&document, now))
    }
}

fn lives(document: &Document, now: Timestamp) -> bool {
    document.expires_at.is_none_or(|at| at > now)
}
