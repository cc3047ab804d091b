//! The claims of an identity provider, and the role they give.

use serde_json::Value;

use super::OidcError;
use crate::auth::Role;
use crate::auth::encoding::from_base64url;

/// Maps one claim to a role. The claim is a word or a list of words, such as a person's groups.
#[derive(Clone, Debug, Default)]
pub struct RoleMapping {
    /// The claim's name; dots descend into it, as in `realm_access.roles`.
    pub claim: String,
    /// Words that make an admin.
    pub admin: Vec<String>,
    /// Words that make an operator.
    pub operator: Vec<String>,
    /// Words that make a viewer.
    pub viewer: Vec<String>,
    /// The role of every other person that the provider authenticates; `None` refuses them.
    pub everybody: Option<Role>,
}

/// A person authenticated by the provider, with a role.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::auth) struct Identity {
    pub(in crate::auth) name: String,
    pub(in crate::auth) role: Role,
    /// The provider's permanent identifier of the person.
    pub(in crate::auth) subject: String,
}

impl RoleMapping {
    /// Returns true if the role claim is present.
    pub(super) fn is_in(&self, claims: &Value) -> bool {
        find(claims, &self.claim).is_some()
    }

    pub(super) fn identify(
        &self,
        claims: &Value,
        name_claim: Option<&str>,
    ) -> Result<Identity, OidcError> {
        let subject = claims
            .get("sub")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let name = name(claims, name_claim)
            .unwrap_or(&subject)
            .chars()
            .filter(|letter| !letter.is_control())
            .collect();
        match self.role(claims) {
            Some(role) => Ok(Identity {
                name,
                role,
                subject,
            }),
            None => Err(OidcError::NoRole(name, self.claim.clone())),
        }
    }

    fn role(&self, claims: &Value) -> Option<Role> {
        let words = words(find(claims, &self.claim));
        let has = |list: &[String]| {
            words
                .iter()
                .any(|word| list.iter().any(|listed| listed == word))
        };
        let lists = [
            (Role::Admin, &self.admin),
            (Role::Operator, &self.operator),
            (Role::Viewer, &self.viewer),
        ];
        lists
            .into_iter()
            .find(|(_, list)| has(list))
            .map(|(role, _)| role)
            .or(self.everybody)
    }
}

/// Looks a claim up by its name, or else by the path that its dots make. An email address that the
/// provider has not verified may belong to anyone, and is treated as absent.
fn find<'a>(claims: &'a Value, claim: &str) -> Option<&'a Value> {
    if claim == "email" && claims.get("email_verified") != Some(&Value::Bool(true)) {
        return None;
    }
    claims.get(claim).or_else(|| {
        claim
            .split('.')
            .try_fold(claims, |value, part| value.get(part))
    })
}

fn words(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(word)) => vec![word],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn name<'a>(claims: &'a Value, wanted: Option<&str>) -> Option<&'a str> {
    let text = |name: &str| {
        find(claims, name)
            .and_then(Value::as_str)
            .filter(|text| !text.trim().is_empty())
    };
    if let Some(wanted) = wanted {
        return text(wanted);
    }
    text("preferred_username").or_else(|| text("email"))
}

/// The claims of a token whose signature has already been checked.
pub(super) fn of_token(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&from_base64url(payload)?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mapping(claim: &str) -> RoleMapping {
        let list = |word: &str| vec![word.to_owned()];
        let (admin, operator, viewer) =
            (list("sf-admins"), list("sf-operators"), list("sf-viewers"));
        RoleMapping {
            claim: claim.to_owned(),
            admin,
            operator,
            viewer,
            everybody: None,
        }
    }

    #[test]
    fn the_highest_role_counts() {
        let check = |groups: Value, expect: Option<Role>| {
            assert_eq!(
                mapping("groups").role(&json!({ "groups": groups })),
                expect,
                "{groups}"
            );
        };
        check(
            json!(["x", "sf-viewers", "sf-operators"]),
            Some(Role::Operator),
        );
        check(json!("sf-admins"), Some(Role::Admin));
        check(json!(["SF-ADMINS", "sf-admins2", ""]), None);
        check(json!([]), None);
        check(json!({ "sf-admins": true }), None);
        check(json!([["sf-admins"]]), None);
    }

    #[test]
    fn a_claim_may_be_nested_or_have_dots_in_its_name() {
        assert_eq!(
            mapping("a.b").role(&json!({ "a": { "b": ["sf-admins"] } })),
            Some(Role::Admin)
        );
        let name = "https://example.com/roles";
        assert_eq!(
            mapping(name).role(&json!({ name: ["sf-viewers"] })),
            Some(Role::Viewer)
        );
        assert!(!mapping("groups").is_in(&json!({ "sub": "x" })));
    }

    #[test]
    fn a_person_without_a_role_is_refused_unless_everybody_has_one() {
        let claims = json!({ "sub": "7", "preferred_username": "eve" });
        let error = mapping("groups").identify(&claims, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "eve has no role here: the claim `groups` gives none"
        );
        let open = RoleMapping {
            everybody: Some(Role::Viewer),
            ..mapping("groups")
        };
        let identity = open.identify(&claims, None).unwrap();
        assert_eq!(
            (
                identity.name.as_str(),
                identity.role,
                identity.subject.as_str()
            ),
            ("eve", Role::Viewer, "7")
        );
    }

    #[test]
    fn an_unverified_email_is_not_used_as_a_name() {
        let check = |claims: Value, wanted: Option<&str>, expect: Option<&str>| {
            assert_eq!(name(&claims, wanted), expect, "{claims}");
        };
        check(json!({ "email": "ann@example.com" }), None, None);
        check(
            json!({ "email": "ann@example.com", "email_verified": true }),
            None,
            Some("ann@example.com"),
        );
        check(
            json!({ "email": "a", "name": "Ann" }),
            Some("name"),
            Some("Ann"),
        );
        check(json!({ "email": "ann@example.com" }), Some("email"), None);
        check(
            json!({ "email": "ann@example.com", "email_verified": "yes" }),
            Some("email"),
            None,
        );
        check(
            json!({ "email": "ann@example.com", "email_verified": true }),
            Some("email"),
            Some("ann@example.com"),
        );
        check(json!({ "preferred_username": " " }), None, None);
    }

    #[test]
    fn an_unverified_email_gives_no_role() {
        let mapping = RoleMapping {
            admin: vec!["ann@example.com".to_owned()],
            ..mapping("email")
        };
        for verified in [Value::Null, false.into(), "true".into()] {
            let claims =
                json!({ "sub": "7", "email": "ann@example.com", "email_verified": verified });
            assert_eq!(
                (mapping.role(&claims), mapping.is_in(&claims)),
                (None, false),
                "{claims}"
            );
        }
        let claims = json!({ "sub": "7", "email": "ann@example.com", "email_verified": true });
        assert_eq!(mapping.role(&claims), Some(Role::Admin));
    }
}
