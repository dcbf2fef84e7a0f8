//! Sources outside of the caller's host: `http` and `git`. Builders, as those of `build`.

use wasmtime::component::Resource;
use wharf_graph::{
    Directory, File, Secret,
    build::{GitReference, GitRepository},
    op::FileEdit,
    source::{Access, Checkout, FetchOptions, FetchRequest, FetchSecret, GitAccess, Reference},
};
use wharf_hosts::Hosts;
use wharf_manifest::Capability;

use crate::{
    bindings::wharf::pipeline::{git, http},
    state::State,
};

type Handle<T> = wasmtime::Result<Resource<T>>;

/// The file at a URL, from these servers where not from all.
fn fetched(url: &str, hosts: Option<Hosts>, options: FetchOptions) -> File {
    let FetchOptions { request, name, mode } = options;
    let url = url.to_owned();
    let mut file = File::fetch(FetchRequest {
        url,
        hosts,
        ..request
    });
    if let Some(name) = name {
        file = file.edit(FileEdit::Rename(name));
    }
    if let Some(mode) = mode {
        file = file.edit(FileEdit::Mode(mode & 0o7777));
    }
    file
}

impl State {
    fn fetch_secret(
        &mut self,
        own: &Resource<FetchOptions>,
        secret: &Resource<Secret>,
        of: impl FnOnce(wharf_graph::op::SecretId) -> FetchSecret,
    ) -> wasmtime::Result<()> {
        let id = self.table.get(secret)?.id.clone();
        self.table.get_mut(own)?.request.secrets.push(of(id));
        Ok(())
    }
}

impl http::HostFetchOptions for &mut State {
    fn new(&mut self) -> Handle<FetchOptions> {
        Ok(self.table.push(FetchOptions::default())?)
    }

    fn set_digest(&mut self, own: Resource<FetchOptions>, digest: String) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.request.digest = Some(digest);
        Ok(())
    }

    fn add_header(
        &mut self,
        own: Resource<FetchOptions>,
        name: String,
        value: String,
    ) -> wasmtime::Result<()> {
        self.meter.describe(name.len() + value.len())?;
        self.table.get_mut(&own)?.request.headers.push((name, value));
        Ok(())
    }

    fn add_secret_header(
        &mut self,
        own: Resource<FetchOptions>,
        name: String,
        value: Resource<Secret>,
    ) -> wasmtime::Result<()> {
        self.fetch_secret(&own, &value, |secret| FetchSecret::Header(name, secret))
    }

    fn set_bearer_auth(
        &mut self,
        own: Resource<FetchOptions>,
        token: Resource<Secret>,
    ) -> wasmtime::Result<()> {
        self.fetch_secret(&own, &token, FetchSecret::Bearer)
    }

    fn set_basic_auth(
        &mut self,
        own: Resource<FetchOptions>,
        user: String,
        password: Resource<Secret>,
    ) -> wasmtime::Result<()> {
        self.fetch_secret(&own, &password, |secret| FetchSecret::Basic(user, secret))
    }

    fn set_name(&mut self, own: Resource<FetchOptions>, name: String) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.name = Some(name);
        Ok(())
    }

    fn set_mode(&mut self, own: Resource<FetchOptions>, mode: u32) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.mode = Some(mode);
        Ok(())
    }

    fn drop(&mut self, own: Resource<FetchOptions>) -> wasmtime::Result<()> {
        self.table.delete(own)?;
        Ok(())
    }
}

impl http::Host for &mut State {
    fn fetch(&mut self, url: String, options: Option<Resource<FetchOptions>>) -> Handle<File> {
        let options = options
            .map(|options| self.table.get(&options).cloned())
            .transpose()?
            .unwrap_or_default();
        let file = match self.held.check_address(Capability::Http, &url) {
            Ok(hosts) => fetched(&url, hosts, options),
            Err(denied) => File::failed(denied),
        };
        self.meter.describe(file.node().encoding().len())?;
        Ok(self.table.push(file)?)
    }
}

/// The user that servers take a token from: any will do for most.
const TOKEN_USER: &str = "x-access-token";

impl State {
    fn set_access(
        &mut self,
        own: &Resource<GitAccess>,
        secret: &Resource<Secret>,
        access: impl FnOnce(wharf_graph::op::SecretId) -> Access,
    ) -> wasmtime::Result<()> {
        let id = self.table.get(secret)?.id.clone();
        self.table.get_mut(own)?.access = access(id);
        Ok(())
    }

    fn git_reference(&mut self, of: &Resource<GitRepository>, reference: Reference) -> Handle<GitReference> {
        let reference = self.table.get(of)?.reference(reference);
        Ok(self.table.push(reference)?)
    }
}

impl git::HostAccess for &mut State {
    fn new(&mut self) -> Handle<GitAccess> {
        Ok(self.table.push(GitAccess::default())?)
    }

    fn set_token(&mut self, own: Resource<GitAccess>, token: Resource<Secret>) -> wasmtime::Result<()> {
        self.set_access(&own, &token, |secret| {
            Access::Password(TOKEN_USER.to_owned(), secret)
        })
    }

    fn set_basic_auth(
        &mut self,
        own: Resource<GitAccess>,
        user: String,
        password: Resource<Secret>,
    ) -> wasmtime::Result<()> {
        self.set_access(&own, &password, |secret| Access::Password(user, secret))
    }

    fn set_ssh_key(&mut self, own: Resource<GitAccess>, key: Resource<Secret>) -> wasmtime::Result<()> {
        self.set_access(&own, &key, Access::Key)
    }

    fn set_known_hosts(&mut self, own: Resource<GitAccess>, lines: String) -> wasmtime::Result<()> {
        self.meter.describe(lines.len())?;
        self.table.get_mut(&own)?.known_hosts = lines;
        Ok(())
    }

    fn drop(&mut self, own: Resource<GitAccess>) -> wasmtime::Result<()> {
        self.table.delete(own)?;
        Ok(())
    }
}

impl git::HostCheckoutOptions for &mut State {
    fn new(&mut self) -> Handle<Checkout> {
        Ok(self.table.push(Checkout::default())?)
    }

    fn set_keep_git_dir(&mut self, own: Resource<Checkout>, enabled: bool) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.keep_git_dir = enabled;
        Ok(())
    }

    fn set_depth(&mut self, own: Resource<Checkout>, commits: u32) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.depth = Some(commits);
        Ok(())
    }

    fn drop(&mut self, own: Resource<Checkout>) -> wasmtime::Result<()> {
        self.table.delete(own)?;
        Ok(())
    }
}

impl git::HostRepository for &mut State {
    fn head(&mut self, own: Resource<GitRepository>) -> Handle<GitReference> {
        self.git_reference(&own, Reference::Head)
    }

    fn branch(&mut self, own: Resource<GitRepository>, name: String) -> Handle<GitReference> {
        self.git_reference(&own, Reference::Branch(name))
    }

    fn tag(&mut self, own: Resource<GitRepository>, name: String) -> Handle<GitReference> {
        self.git_reference(&own, Reference::Tag(name))
    }

    fn commit(&mut self, own: Resource<GitRepository>, id: String) -> Handle<GitReference> {
        self.git_reference(&own, Reference::Commit(id))
    }

    fn latest_version(&mut self, own: Resource<GitRepository>) -> Handle<GitReference> {
        self.git_reference(&own, Reference::LatestVersion)
    }

    fn ref_(&mut self, own: Resource<GitRepository>, name: String) -> Handle<GitReference> {
        self.git_reference(&own, Reference::Any(name))
    }

    fn drop(&mut self, own: Resource<GitRepository>) -> wasmtime::Result<()> {
        self.table.delete(own)?;
        Ok(())
    }
}

impl git::HostReference for &mut State {
    fn tree(
        &mut self,
        own: Resource<GitReference>,
        options: Option<Resource<Checkout>>,
    ) -> Handle<Directory> {
        let options = options
            .map(|options| self.table.get(&options).copied())
            .transpose()?
            .unwrap_or_default();
        let tree = self.table.get(&own)?.tree(options);
        self.meter.describe(tree.node().encoding().len())?;
        Ok(self.table.push(tree)?)
    }

    fn drop(&mut self, own: Resource<GitReference>) -> wasmtime::Result<()> {
        self.table.delete(own)?;
        Ok(())
    }
}

impl git::Host for &mut State {
    fn open(&mut self, url: String, access: Option<Resource<GitAccess>>) -> Handle<GitRepository> {
        let GitAccess { access, known_hosts } = access
            .map(|access| self.table.get(&access).cloned())
            .transpose()?
            .unwrap_or_default();
        let repository = match self.held.check_address(Capability::Git, &url) {
            Ok(hosts) => GitRepository::at(&url, access, &known_hosts).only_from(hosts),
            Err(denied) => GitRepository::failed(denied),
        };
        Ok(self.table.push(repository)?)
    }

    fn of_directory(&mut self, directory: Resource<Directory>) -> Handle<GitRepository> {
        let repository = GitRepository::of_directory(self.table.get(&directory)?);
        Ok(self.table.push(repository)?)
    }
}
