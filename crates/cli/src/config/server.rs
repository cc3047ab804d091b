//! `[server]` and `[auth]`: the address of `surefoot serve`, and its access control.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use surefoot::CredentialSource;
use surefoot_server::auth::{
    AuthOptions, OidcOptions, RoleLists, RoleMapping, ServerSecret, SessionLimits, SignInLimits,
};

use super::field::{AllowTable, Proxy, RoleName, Time};
use crate::errors::Failure;

/// Default address.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7878);

/// `[server]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerTable {
    /// The address to listen on.
    pub(crate) listen: Option<SocketAddr>,
    /// The address by which people reach it.
    pub(crate) public_url: Option<String>,
    /// Proxies whose headers are trusted for the address of a client.
    #[serde(default)]
    pub(crate) trusted_proxies: Vec<Proxy>,
    /// A folder of workflows that can be submitted by name.
    pub(crate) workflows: Option<PathBuf>,
}

impl ServerTable {
    /// The address to listen on.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen.unwrap_or(LISTEN)
    }

    /// The address by which people reach it.
    pub(crate) fn url(&self) -> String {
        self.public_url
            .clone()
            .unwrap_or_else(|| format!("http://{}", self.listen()))
    }

    pub(super) fn within(self, base: &Path) -> Self {
        Self {
            workflows: self.workflows.map(|folder| base.join(folder)),
            ..self
        }
    }
}

/// `[auth]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthTable {
    /// The file of the secret that signs forms and links; it is made when it is missing.
    pub(crate) secret_file: Option<PathBuf>,
    /// The name of the credential that is the secret, in place of the file.
    pub(crate) secret: Option<String>,
    /// Idle timeout of a session.
    session_idle: Option<Time>,
    /// Longest duration of a session.
    session_longest: Option<Time>,
    /// Tries to sign in in a minute, over all addresses.
    sign_ins_per_minute: Option<u32>,
    /// The same of one address.
    sign_ins_per_address: Option<u32>,
    /// Sign-in at an identity provider.
    pub(crate) oidc: Option<OidcTable>,
    /// The allow-lists of roles.
    #[serde(default)]
    roles: RoleListsTable,
}

/// `[auth.roles]`. A viewer makes nothing run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleListsTable {
    #[serde(default)]
    operator: AllowTable,
    #[serde(default)]
    admin: AllowTable,
}

/// `[auth.oidc]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OidcTable {
    /// Name of the provider on the button.
    name: Option<String>,
    /// Its address.
    pub(crate) issuer: String,
    /// Client id at the provider.
    pub(crate) client_id: String,
    /// The name of the credential that is shown to it.
    client_secret: Option<String>,
    /// Scopes requested beside `openid`.
    #[serde(default)]
    scopes: Vec<String>,
    /// The claim that people go by.
    name_claim: Option<String>,
    /// Roles of users.
    roles: RolesTable,
}

/// `[auth.oidc.roles]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RolesTable {
    #[serde(default)]
    claim: String,
    #[serde(default)]
    admin: Vec<String>,
    #[serde(default)]
    operator: Vec<String>,
    #[serde(default)]
    viewer: Vec<String>,
    everybody: Option<RoleName>,
}

impl AuthTable {
    pub(super) fn within(self, base: &Path) -> Self {
        Self {
            secret_file: self.secret_file.map(|file| base.join(file)),
            ..self
        }
    }

    /// The allow-lists of roles.
    pub(crate) fn lists(&self) -> RoleLists {
        RoleLists {
            operator: self.roles.operator.lists(),
            admin: self.roles.admin.lists(),
        }
    }

    /// Builds the access control. Reads the secrets, and creates the server's own if there is none.
    pub(crate) fn options(
        &self,
        data_dir: &Path,
        credentials: &dyn CredentialSource,
    ) -> Result<AuthOptions, Failure> {
        let mut options = AuthOptions::new(self.server_secret(data_dir, credentials)?);
        let sessions = SessionLimits::default();
        let sign_in = SignInLimits::default();
        options.sessions = SessionLimits {
            idle: self.session_idle.map_or(sessions.idle, |time| time.0),
            longest: self.session_longest.map_or(sessions.longest, |time| time.0),
        };
        options.sign_in = SignInLimits {
            per_address: self.sign_ins_per_address.unwrap_or(sign_in.per_address),
            per_minute: self.sign_ins_per_minute.unwrap_or(sign_in.per_minute),
        };
        options.oidc = self
            .oidc
            .as_ref()
            .map(|oidc| oidc.options(credentials))
            .transpose()?;
        Ok(options)
    }

    fn server_secret(
        &self,
        data_dir: &Path,
        credentials: &dyn CredentialSource,
    ) -> Result<ServerSecret, Failure> {
        let secret = match &self.secret {
            Some(name) => ServerSecret::new(&credential(credentials, name, "auth.secret")?),
            None => ServerSecret::from_file(&self.secret_file(data_dir)),
        };
        secret.map_err(|error| Failure::usage(error.to_string()))
    }

    /// The file of the secret.
    pub(crate) fn secret_file(&self, data_dir: &Path) -> PathBuf {
        self.secret_file
            .clone()
            .unwrap_or_else(|| data_dir.join("server.key"))
    }
}

impl OidcTable {
    /// Name of the provider.
    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("single sign-on")
    }

    fn options(&self, credentials: &dyn CredentialSource) -> Result<OidcOptions, Failure> {
        let secret = self.client_secret.as_deref();
        let roles = self.roles.clone();
        Ok(OidcOptions {
            name: self.name().to_owned(),
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            client_secret: secret
                .map(|name| credential(credentials, name, "auth.oidc.client_secret"))
                .transpose()?,
            scopes: self.scopes.clone(),
            name_claim: self.name_claim.clone(),
            roles: RoleMapping {
                claim: roles.claim,
                admin: roles.admin,
                operator: roles.operator,
                viewer: roles.viewer,
                everybody: roles.everybody.map(|role| role.0),
            },
        })
    }
}

fn credential(
    source: &dyn CredentialSource,
    name: &str,
    field: &str,
) -> Result<surefoot::Secret, Failure> {
    source
        .get(name)
        .map_err(|error| Failure::usage(error.to_string()).within(field))
}
